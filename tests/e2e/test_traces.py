"""One trace through the local stack: spans of separate processes reach a receiver over OTLP, and the stack's own file."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from retune_client import ErrorReporter, Utterance
from typer.testing import CliRunner

import infra.cli
from shared import keys, ledger
from shared.cas import find
from shared.cycle import CODEC, Status
from shared.events import SttError
from shared.testing.http_sink import HttpSink, Posted
from shared.tracing import cycle_root
from tests.e2e.local_stack import DEADLINE_S, errors, install_model, publish, running, until

BUCKET = "gs://retune-local"
TRAINER = """
import os, sys
from datetime import UTC, datetime
from shared.clock import SystemClock
from shared.events import TrainingFailed
from shared.messages import outgoing
from shared.pubsub import PubSubBus
from shared.tracing import Place, traces_from_env

project = os.environ["GOOGLE_CLOUD_PROJECT"]
traces = traces_from_env(Place("retune-trainer", "gs://retune-local", project), SystemClock(), os.environ)
with traces.span("train", 1, attributes={"attempt": 1}):
    bus = PubSubBus(project)
    failed = TrainingFailed(event_id="failed-1", occurred_at=datetime.now(UTC), cycle=1, attempt=1, reason="bad_spec")
    bus.publish(outgoing(failed, traces.carrier()))
    bus.close()
"""


def spans_in(posted: list[Posted]) -> list[tuple[str, Any]]:
    """Return each span with the name of its service."""
    groups = [group for each in posted for group in ExportTraceServiceRequest.FromString(each.body).resource_spans]
    return [(_service(group), span) for group in groups for scope in group.scope_spans for span in scope.spans]


def _service(group: Any) -> str:
    return str(next(item.value.string_value for item in group.resource.attributes if item.key == "service.name"))


def test_spans_of_functions_and_trainer_are_one_trace_at_a_receiver_and_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    with HttpSink(lambda _: 200) as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.root)
        with running(tmp_path, traces=True, trainer=TRAINER) as stack:
            install_model(stack)
            reported = errors(stack, 60)
            publish(stack, reported[1:])
            until(lambda: ledger.count(stack.store, 1).errors == 59, "all errors but the last in the ledger")
            first = reported[0]
            assert isinstance(first, SttError)
            with ErrorReporter(stack.config.project) as reporter, provider.get_tracer("a service").start_as_current_span("call") as call:
                reporter.report_error(
                    Utterance(
                        utterance_id=first.utterance_id,
                        audio_uri=first.audio_uri,
                        hypothesis=first.hypothesis,
                        model_version=first.model_version,
                        speaker_id=first.speaker_id,
                    ),
                    reference=first.reference,
                )
                assert reporter.flush(DEADLINE_S)
            until(lambda: _status(stack.store) == Status.FAILED, "the end of cycle 1")
            sink.wait_for(lambda posted: any(span.name == "cycle" for _, span in spans_in(posted)), DEADLINE_S)
            shown = CliRunner().invoke(infra.cli.app, ["trace", "1", "--file", str(stack.settings.traces_file)])
    root = cycle_root(BUCKET, 1)
    own = [(service, span) for service, span in spans_in(sink.requests) if span.trace_id == root.trace_id.to_bytes(16)]
    named = {span.name: (service, span) for service, span in own}
    assert {service for service, _ in own} >= {"retune-launcher", "retune-trainer"}
    service, crossing = next((service, span) for service, span in own if span.name == "announce crossing")
    assert service in {"retune-collector", "retune-sweeper"}
    announced = {span.span_id for _, span in own if span.name == "announce crossing"}  # a level: it is seen until the cycle opens
    assert {span.parent_span_id for _, span in own if span.name == "handle ThresholdCrossed"} <= announced
    assert named["handle TrainingFailed"][1].parent_span_id == named["train"][1].span_id
    assert named["train"][1].parent_span_id == root.span_id.to_bytes(8)
    whole = named["cycle"][1]
    assert whole.span_id == root.span_id.to_bytes(8)
    assert whole.start_time_unix_nano < crossing.start_time_unix_nano <= named["train"][1].start_time_unix_nano <= whole.end_time_unix_nano
    links = {link.trace_id for _, span in own if span.name == "report SttError" for link in span.links}
    assert links == {call.get_span_context().trace_id.to_bytes(16)}
    assert shown.exit_code == 0, shown.output
    assert "deployer" not in shown.stdout
    assert {"launcher: handle TrainingFailed (attempt 1)", "trainer: train (attempt 1)"} <= {
        line[25:].strip() for line in shown.stdout.splitlines()
    }
    provider.shutdown()


def _status(store: Any) -> Status | None:
    found = find(store, keys.state(1))
    return CODEC.parse(found.data).status if found else None
