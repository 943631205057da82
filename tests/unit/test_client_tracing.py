"""The reporter within a service that traces: an error names the span it was reported in; without OpenTelemetry nothing changes."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from retune_client.testing import ManualClock, MemoryPublisher
from retune_client.tracing import current_traceparent

from infra.bundle import ROOT
from shared.tracing import parse_traceparent
from tests.unit.test_client_reporter import GIVEN_UP_S, reporter_with, utterance


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider.get_tracer("a service")
    provider.shutdown()


def test_an_error_and_a_correction_name_the_span_in_which_they_were_reported(tracer: Tracer) -> None:
    publisher = MemoryPublisher()
    with reporter_with(publisher, sample_rate=1.0) as reporter:
        with tracer.start_as_current_span("call 1") as call:
            reporter.observe(utterance(1))
            reporter.report_error(utterance(1))
            reporter.report_correction("u-1", "hello there")
        reporter.report_error(utterance(2))
        assert reporter.flush(GIVEN_UP_S)
    context = call.get_span_context()
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    told = {(each.attributes["type"], each.attributes.get("traceparent")) for each in publisher.messages}
    assert told == {
        ("SttSample", None),
        ("SttError", expected),
        ("SttCorrection", expected),
        ("SttError", None),
        ("SttTraffic", None),
    }
    found = parse_traceparent(expected)
    assert found is not None
    assert (found.trace_id, found.span_id) == (context.trace_id, context.span_id)


def test_the_span_survives_the_spool(tracer: Tracer, tmp_path: Path) -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.away = True
    reporter = reporter_with(publisher, clock, spool_dir=tmp_path)
    with tracer.start_as_current_span("call"):
        expected = current_traceparent()
        reporter.report_error(utterance(1))
    reporter.report_error(utterance(2))
    reporter.close(0.0)
    publisher.away = False
    with reporter_with(publisher, clock, spool_dir=tmp_path) as successor:
        assert successor.flush(GIVEN_UP_S)
    assert [each.attributes.get("traceparent") for each in publisher.messages] == [expected, None]


def test_a_publisher_of_the_services_own_that_knows_no_traceparent_loses_no_event(tracer: Tracer) -> None:
    class Strict(MemoryPublisher):
        def publish(self, topic: str, data: bytes, *, type: str, v: str) -> Future[str]:  # type: ignore[override] # noqa: A002
            return super().publish(topic, data, type=type, v=v)

    publisher = Strict()
    with reporter_with(publisher) as reporter, tracer.start_as_current_span("call"):
        reporter.report_error(utterance(1))
        assert reporter.flush(GIVEN_UP_S)
        assert reporter.stats().dropped == {}
    assert [dict(each.attributes) for each in publisher.messages] == [{"type": "SttError", "v": "1"}]


WITHOUT = """
import sys
for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
    raise SystemExit(name)
sys.modules["opentelemetry"] = None  # whoever imports it fails, as where it is not installed
from retune_client import ErrorReporter, Utterance
from retune_client.testing import MemoryPublisher
publisher = MemoryPublisher()
with ErrorReporter("p", publisher=publisher, sample_rate=0.0) as reporter:
    reporter.report_error(Utterance(utterance_id="u", audio_uri="gs://a/u.wav", hypothesis="x", model_version=0))
    assert reporter.flush(30)
print(publisher.messages[0].attributes)
"""


def test_without_opentelemetry_an_error_is_reported_as_ever() -> None:
    done: Any = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "{'type': 'SttError', 'v': '1'}"), done.stderr
