"""The port of traces on OpenTelemetry's SDK: what leaves the process, and what becomes of the work where nothing can."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.clock import SystemClock
from shared.otel import OtelTraces
from shared.testing.clock import START, FakeClock
from shared.testing.http_sink import HttpSink, Posted
from shared.tracing import OFF, PastSpan, Place, Traces, cycle_root, open_traces, traces_from_env

PLACE = Place("retune-launcher", "gs://b", "a-project")


@pytest.fixture(autouse=True)
def a_log_that_has_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("opentelemetry")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")


@contextmanager
def exported(*, endpoint: str = "", file: Path | None = None, service: str = "retune-launcher") -> Iterator[OtelTraces]:
    """Open traces as a process does, and end their thread."""
    traces = open_traces(Place(service, "gs://b", "a-project"), SystemClock(), endpoint=endpoint, file=file)
    assert isinstance(traces, OtelTraces)
    try:
        yield traces
    finally:
        traces.provider.shutdown()


def work(traces: Traces, cycle: int = 1) -> str:
    with traces.span("handle X", cycle), traces.span("seal", cycle):
        return "done"


def spans_in(posted: list[Posted]) -> list[Any]:
    requests = [ExportTraceServiceRequest.FromString(each.body) for each in posted]
    return [span for request in requests for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]


def test_spans_have_left_when_the_outermost_one_returns() -> None:
    with HttpSink(lambda _: 200) as sink, exported(endpoint=sink.root) as traces:
        assert work(traces) == "done"
        assert [posted.path for posted in sink.requests] == ["/v1/traces"]
        seal, handle = spans_in(sink.requests)
        assert (seal.name, handle.name) == ("seal", "handle X")
        root = cycle_root("gs://b", 1)
        assert seal.trace_id == handle.trace_id == root.trace_id.to_bytes(16)
        assert seal.parent_span_id == handle.span_id
        assert handle.parent_span_id == root.span_id.to_bytes(8)
        (group,) = ExportTraceServiceRequest.FromString(sink.requests[0].body).resource_spans
        resource = {item.key: item.value.string_value for item in group.resource.attributes}
        assert resource["service.name"] == "retune-launcher"
        assert "gcp.project_id" not in resource


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_a_receiver_that_refuses_costs_no_work_and_is_told_once(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with HttpSink(lambda _: status) as sink, exported(endpoint=sink.root) as traces:
        assert [work(traces) for _ in range(3)] == ["done"] * 3
        assert len(sink.requests) >= 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = lines
    assert line["severity"] == "WARNING"
    assert line["message"].startswith("traces are not exported, told once: Failed to export spans batch")


def test_nobody_at_the_address_costs_no_work_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with HttpSink() as sink:
        endpoint = sink.root
    with exported(endpoint=endpoint) as traces:
        assert [work(traces) for _ in range(2)] == ["done"] * 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert captured.err == ""


def test_the_work_that_fails_fails_as_it_would_without_traces_and_is_exported() -> None:
    with HttpSink(lambda _: 200) as sink, exported(endpoint=sink.root) as traces:
        with pytest.raises(ValueError, match="what was said"), traces.span("handle X", 1):
            raise ValueError("what was said")
        (span,) = spans_in(sink.requests)
        assert (span.status.code, span.status.message) == (2, "ValueError")
        assert list(span.events) == []
        assert b"said" not in sink.requests[0].body


def test_a_file_gets_one_line_of_json_a_span_from_whoever_shares_it(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "traces.jsonl"
    for service in ("retune-launcher", "retune-deployer"):
        with exported(file=file, service=service) as traces:
            work(traces)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["seal", "handle X"] * 2
    assert {line["resource"]["attributes"]["service.name"] for line in lines} == {"retune-launcher", "retune-deployer"}


def test_a_file_that_cannot_be_written_costs_no_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    traces = open_traces(PLACE, SystemClock(), endpoint="", file=tmp_path / "taken" / "traces.jsonl")
    assert traces is OFF
    assert "traces are not exported: " in capsys.readouterr().out


def test_googles_api_is_given_the_accounts_credentials_and_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def default(scopes: Any) -> tuple[object, str]:
        asked.append(scopes)
        return object(), "a-project"

    monkeypatch.setattr(google.auth, "default", default)
    with exported(endpoint="https://telemetry.googleapis.com") as traces:
        assert asked == [("https://www.googleapis.com/auth/trace.append",)]
        assert traces.provider.resource.attributes["gcp.project_id"] == "a-project"


def test_where_there_are_no_credentials_there_are_no_traces_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def default(scopes: Any) -> None:
        raise DefaultCredentialsError("none here")

    monkeypatch.setattr(google.auth, "default", default)
    assert open_traces(PLACE, SystemClock(), endpoint="https://telemetry.googleapis.com", file=None) is OFF
    assert "DefaultCredentialsError" in capsys.readouterr().out


def test_the_environment_says_where_spans_go_and_by_default_nowhere(tmp_path: Path) -> None:
    assert traces_from_env(PLACE, SystemClock(), {}) is OFF
    assert traces_from_env(PLACE, SystemClock(), {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "RETUNE_TRACES_FILE": ""}) is OFF
    found = traces_from_env(PLACE, SystemClock(), {"RETUNE_TRACES_FILE": str(tmp_path / "t.jsonl")})
    assert isinstance(found, OtelTraces)
    found.provider.shutdown()


def in_memory(clock: FakeClock) -> tuple[OtelTraces, InMemorySpanExporter]:
    traces, exporter = OtelTraces("retune-x", "gs://b", clock), InMemorySpanExporter()
    traces.provider.add_span_processor(SimpleSpanProcessor(exporter))
    return traces, exporter


def test_a_span_of_another_cycle_within_is_of_its_own_trace_and_linked() -> None:
    traces, exporter = in_memory(FakeClock())
    with traces.span("outer", 1), traces.span("inner", 2):
        pass
    inner, outer = exporter.get_finished_spans()
    assert inner.context is not None
    assert outer.context is not None
    assert inner.context.trace_id == cycle_root("gs://b", 2).trace_id
    assert [link.context.span_id for link in inner.links] == [outer.context.span_id]


def test_a_phase_that_is_told_afterwards_is_under_the_span_that_is_current() -> None:
    clock = FakeClock()
    traces, exporter = in_memory(clock)
    with traces.span("train", 1):
        traces.past(PastSpan("loading", 1, START - timedelta(seconds=5), START))
    loading, train = exporter.get_finished_spans()
    assert train.context is not None
    assert loading.parent is not None
    assert loading.parent.span_id == train.context.span_id
    assert (loading.end_time or 0) - (loading.start_time or 0) == 5 * 10**9


def test_without_a_current_span_nothing_travels_and_a_note_is_nobodys() -> None:
    traces, exporter = in_memory(FakeClock())
    assert traces.carrier() == {}
    traces.note(outcome="x")
    with traces.span("outer", 1):
        header = traces.carrier()["traceparent"]
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert header == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
