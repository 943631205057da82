"""One trace from an error to the deployment, over in-memory ports and an in-memory exporter."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from typer.testing import CliRunner

import infra.cli
from infra.errors import REFUSED, UNREACHABLE
from shared import keys, ledger
from shared.bus import Outgoing
from shared.cas import find
from shared.cycle import Status
from shared.errors import Retryable
from shared.log import log
from shared.messages import outgoing
from shared.policy import CanaryPolicy
from shared.testing import builders
from shared.testing.clock import START
from shared.tracing import SpanRef, cycle_root
from tests.traced_world import PHASES, TracedWorld, at, spans_of, tree, write_spans
from tests.unit.test_canary_in_memory import CANARY, serve
from tests.world import BUCKET, POLICY, World, wrong

TRACE = cycle_root(BUCKET, 1).trace_id
ERRORS = range(60)


def world(*, canary: CanaryPolicy | None = None, exporter: SpanExporter | None = None, **policy: object) -> TracedWorld:
    update = {**policy, **({"canary": canary} if canary else {})}
    made = TracedWorld(POLICY.model_copy(update=update), exporter=exporter)
    made.install_model()
    made.record_calls(range(200))
    return made


def call_of(number: int) -> SpanRef:
    """Return the span of the service's own trace in which an error was reported."""
    return cycle_root("a speech-to-text service", number)


def report(made: TracedWorld, numbers: Sequence[int] = ERRORS) -> None:
    """Let an error occur every second, each reported two seconds later from a span of its own."""
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers))
    for number in numbers:
        now = made.clock.now()
        made.clock.advance(2)
        event = builders.error(number, at=now)
        made.bus.publish(outgoing(event, {"traceparent": call_of(number).traceparent}))
        made.clock.advance(1)
        made.settle()


def of_cycle(made: TracedWorld) -> list[ReadableSpan]:
    return [span for span in spans_of(made) if span.context is not None and span.context.trace_id == TRACE]


def named(spans: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def deployed() -> TracedWorld:
    made = world()
    report(made)
    made.clock.advance(600)
    assert made.train(1) == "completed"
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    return made


@pytest.fixture(scope="module")
def finished() -> list[ReadableSpan]:
    """The trace of a cycle whose model is deployed; tests only read it."""
    return of_cycle(deployed())


def test_from_error_to_deployment_is_one_trace(finished: list[ReadableSpan]) -> None:
    spans = finished
    assert tree([span for span in spans if not span.name.startswith("report ")]) == [
        "deployer: cycle",
        "  collector: announce crossing",
        "    launcher: handle ThresholdCrossed",
        "      launcher: count",
        "      launcher: seal",
        "      launcher: start trainer",
        "      launcher: write spec",
        "  trainer: train",
        "    trainer: loading the base model",
        "    trainer: training",
        "    trainer: evaluating holdout",
        "    trainer: uploading",
        "    validator: handle TrainingCompleted",
        "      deployer: handle CandidateAccepted",
        "      validator: judge",
    ]
    (root,) = named(spans, "cycle")
    assert root.parent is None
    assert root.context is not None
    reports = named(spans, "report SttError")
    assert {span.parent.span_id for span in reports if span.parent is not None} == {root.context.span_id}
    assert dict(root.attributes or {}) == {"retune.cycle": 1, "retune.status": "deployed", "retune.attempts": 1, "retune.forced": False}
    assert [event.name for event in root.events] == ["preparing", "training", "validating", "accepted", "deployed"]


def test_the_whole_lasts_from_the_oldest_error_and_every_child_begins_after_its_parent(finished: list[ReadableSpan]) -> None:
    spans = finished
    (root,) = named(spans, "cycle")
    (last,) = named(spans, "handle CandidateAccepted")
    assert at(root.start_time) == min(at(span.start_time) for span in spans) == START + timedelta(seconds=0)
    assert root.end_time == last.end_time
    starts = {span.context.span_id: span.start_time or 0 for span in spans if span.context is not None}
    for span in spans:
        assert (span.start_time or 0) <= (span.end_time or 0)
        if span.parent is not None:
            assert (span.start_time or 0) >= starts[span.parent.span_id]
    order = ["announce crossing", "handle ThresholdCrossed", "train", "handle TrainingCompleted", "handle CandidateAccepted"]
    found = [named(spans, name)[0].start_time or 0 for name in order]
    assert all(before <= after for before, after in pairwise(found))
    assert named(spans, "train")[0].start_time == (named(spans, "handle ThresholdCrossed")[0].end_time or 0) + 600 * 10**9


def test_the_trainers_phases_follow_each_other_and_tell_their_epochs(finished: list[ReadableSpan]) -> None:
    (train,) = named(finished, "train")
    phases = [span for name in PHASES for span in named(finished, name)]
    assert [((span.end_time or 0) - (span.start_time or 0)) / 10**9 for span in phases] == list(PHASES.values())
    assert [before.end_time for before in phases[:-1]] == [after.start_time for after in phases[1:]]
    assert (phases[0].start_time, phases[-1].end_time) == (train.start_time, train.end_time)
    (epoch,) = named(finished, "training")[0].events
    assert (epoch.name, dict(epoch.attributes or {})) == ("epoch", {"retune.epoch": 1, "retune.loss": 0.5})
    assert dict(train.attributes or {})["retune.ending"] == "completed"


def test_the_error_that_crossed_and_some_of_the_others_are_told_with_their_own_times_and_links(finished: list[ReadableSpan]) -> None:
    spans = finished
    reports = {str((span.attributes or {})["retune.event_id"]): span for span in named(spans, "report SttError")}
    assert len(reports) == 10
    assert {"e0", "e59"} <= reports.keys()
    for name, span in reports.items():
        number = int(name[1:])
        occurred = START + timedelta(seconds=3 * number)
        assert at(span.start_time) == occurred
        assert at(span.end_time) == occurred + timedelta(seconds=3)
        assert [(event.name, at(event.timestamp)) for event in span.events] == [("published", occurred + timedelta(seconds=2))]
        assert [SpanRef(link.context.trace_id, link.context.span_id) for link in span.links] == [call_of(number)]
    (crossing,) = named(spans, "announce crossing")
    assert (crossing.attributes or {})["retune.event_id"] == "e59"
    assert [link.context.trace_id for link in crossing.links] == [call_of(59).trace_id]


def test_a_handlers_span_names_the_message_and_a_redelivery_is_one_more_in_the_same_trace() -> None:
    made = deployed()
    (first,) = named(of_cycle(made), "handle TrainingCompleted")
    assert first.kind == SpanKind.CONSUMER
    attributes = dict(first.attributes or {})
    assert attributes["messaging.system"] == "gcp_pubsub"
    assert attributes["messaging.message.id"] == made.bus.published("training-events")[-1].message_id
    made.clock.advance(60)
    again = replace(made.bus.published("training-events")[-1], delivery_attempt=2)
    made.handlers["validator"](again)
    made.settle()
    both = named(of_cycle(made), "handle TrainingCompleted")
    assert [(span.attributes or {}).get("messaging.gcp_pubsub.message.delivery_attempt") for span in both] == [None, 2]
    assert both[0].parent == both[1].parent
    assert both[1].start_time == (both[0].start_time or 0) + 60 * 10**9
    assert len(named(of_cycle(made), "cycle")) == 1, "the whole is told again, and is the very same"


def test_a_handlers_log_lines_name_the_trace_of_the_cycle_in_its_project(capsys: pytest.CaptureFixture[str]) -> None:
    made = deployed()
    made.handlers["validator"](made.bus.published("training-events")[-1])
    capsys.readouterr()
    log("done")
    assert json.loads(capsys.readouterr().out)["logging.googleapis.com/trace"] == f"projects/test/traces/{TRACE:032x}"


def test_a_message_from_a_release_without_traces_lands_in_the_trace_all_the_same() -> None:
    made = deployed()
    message = made.bus.published("training-events")[-1]
    bare = replace(message, attributes={name: value for name, value in message.attributes.items() if name != "traceparent"})
    made.handlers["validator"](bare)
    (root,) = named(of_cycle(made), "cycle")
    assert root.context is not None
    late = named(of_cycle(made), "handle TrainingCompleted")[-1]
    assert late.parent is not None
    assert late.parent.span_id == root.context.span_id


def test_a_canary_and_its_promotion_are_in_the_trace() -> None:
    made = world(canary=CANARY)
    report(made)
    made.train(1)
    made.settle()
    assert made.state(1).status == Status.CANARY
    assert named(of_cycle(made), "cycle") == [], "it has not ended"
    serve(made, 22, v0=(20, 200), v1=(1, 200))
    assert made.state(1).status == Status.DEPLOYED
    lines = tree(of_cycle(made))
    assert lines[-2:] == ["  sweeper: watch canary", "    deployer: handle PromoteRequested"]
    (root,) = named(of_cycle(made), "cycle")
    assert [event.name for event in root.events][-2:] == ["canary", "deployed"]


def test_what_is_collected_while_a_cycle_runs_announces_its_crossing_and_tells_no_spans_of_it() -> None:
    made = world(canary=CANARY)
    report(made)
    made.train(1)
    made.settle()
    report(made, range(60, 125))
    assert len([message for message in made.bus.published("finetune-triggers") if b'"cycle":2' in message.data]) > 1
    second = cycle_root(BUCKET, 2).trace_id
    assert [span.name for span in spans_of(made) if span.context is not None and span.context.trace_id == second] == []


def test_a_rollback_follows_in_the_same_trace_and_the_whole_stays_as_it_was() -> None:
    made = deployed()
    made.clock.advance(3600)
    made.type("model-commands", '{"rollback": true, "by": "ana"}')
    made.settle()
    assert made.state(1).status == Status.ROLLED_BACK
    (root,) = named(of_cycle(made), "cycle")
    (rollback,) = named(of_cycle(made), "handle RollbackRequested")
    assert (rollback.start_time or 0) > (root.end_time or 0)
    assert dict(rollback.attributes or {})["retune.move"] == "rollback"


def test_a_forced_cycle_that_waits_for_nobody_is_traced_from_the_request() -> None:
    made = world()
    report(made, range(5))
    made.type("finetune-triggers", '{"force": true, "by": "ana"}')
    made.settle()
    lines = [line.strip() for line in tree(of_cycle(made))]
    assert "launcher: handle FinetuneRequested" in lines
    assert "launcher: start trainer" in lines


def test_an_approval_is_traced_where_the_cycle_that_it_is_about_is_not_named() -> None:
    made = world(auto_approve_finetuning=False)
    report(made)
    made.type("finetune-triggers", '{"approve": true, "by": "ana"}')
    made.settle()
    assert len(named(of_cycle(made), "handle FinetuneApproved")) == 1


def test_a_cycle_that_is_rejected_ends_its_trace_with_the_validator() -> None:
    made = world()
    report(made)
    made.train(1, candidate=wrong)
    made.settle()
    (root,) = named(of_cycle(made), "cycle")
    assert root.resource.attributes["service.name"] == "retune-validator"
    assert dict(root.attributes or {})["retune.status"] == made.state(1).status


def test_a_relaunch_by_the_sweeper_is_in_the_trace() -> None:
    made = world()
    report(made)
    made.begin(next(iter(made.trainers.runs.values())))
    made.trainers.runs.clear()  # killed
    made.tick()
    (sweep,) = named(of_cycle(made), "interrupt")
    assert sweep.resource.attributes["service.name"] == "retune-sweeper"
    starts = named(of_cycle(made), "start trainer")
    assert [dict(span.attributes or {})["retune.attempt"] for span in starts] == [1, 2]


def test_what_fails_is_told_by_its_type_and_never_by_its_words() -> None:
    made = world()

    def away(operation: str, key: str) -> None:
        if operation == "put" and key == keys.dataset(1):
            raise Retryable("said: my name is Ana")

    made.store.before = away
    report(made)
    spans = of_cycle(made)
    failed = [span for span in spans if span.status.status_code == StatusCode.ERROR]
    assert {span.name for span in failed} >= {"seal", "handle ThresholdCrossed"}
    assert all("Ana" not in span.to_json() for span in spans)
    assert {span.status.description for span in failed} == {"CommitUnknown"}


def test_nothing_that_was_said_and_no_address_of_audio_is_in_a_span(finished: list[ReadableSpan]) -> None:
    for span in finished:
        text = span.to_json()
        assert ".wav" not in text
        assert "fall back" not in text
        assert "call back" not in text
        assert "ana" not in text.replace("canary", "")


def test_with_traces_off_the_ledger_and_the_messages_are_as_ever() -> None:
    made = World(POLICY.model_copy(update={"min_error_cases": 5}))
    made.install_model()
    made.record_calls(range(5))
    made.bus.publish(outgoing(builders.error(0), {"traceparent": call_of(0).traceparent}))
    made.publish(*(builders.error(number) for number in range(1, 5)))
    made.settle()
    lines = [line for info in made.store.list(keys.ledger(1)) for line in made.store.get(info.key).data.splitlines()]
    assert sorted(lines) == sorted(builders.error(number).model_dump_json(exclude_none=True).encode() for number in range(5))
    assert all("traceparent" not in message.attributes for message in made.bus.published("finetune-triggers"))
    assert list(ledger.read_arrivals(made.store, 1)) == []


class Failing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        raise ConnectionError("nobody is there")

    def shutdown(self) -> None:
        """Nothing is held."""


@pytest.fixture
def quiet() -> Iterator[None]:
    """What OpenTelemetry says of an exporter that fails is no matter of the test."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
def test_an_exporter_that_fails_costs_no_handler_anything() -> None:
    made = world(exporter=Failing())
    report(made)
    made.train(1)
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    assert made.bus.failures == []


def test_a_store_that_is_away_for_what_only_the_trace_needs_fails_no_handler() -> None:
    made = world()
    report(made)
    made.train(1)

    def away(operation: str, key: str) -> None:
        if operation == "stat" and key == keys.dataset(1):
            raise Retryable("away")

    made.store.before = away
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    assert made.bus.failures == []
    assert named(of_cycle(made), "cycle") == []


def test_a_broken_traceparent_is_ignored() -> None:
    made = world()
    for number in ERRORS:
        made.bus.publish(Outgoing("stt-errors", outgoing(builders.error(number)).data, {"type": "SttError", "v": "1", "traceparent": "x"}))
    made.settle()
    assert find(made.store, keys.state(1)) is not None
    assert all(not span.links for span in named(of_cycle(made), "report SttError"))


def test_the_guide_shows_the_tree_of_a_cycle_as_it_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    made = world(canary=CANARY)
    made.take_time()
    report(made)
    made.clock.advance(95)
    made.train(1)
    made.settle()
    serve(made, 22, v0=(20, 200), v1=(1, 200))
    file = tmp_path / "traces.jsonl"
    write_spans(made, file)
    shown = CliRunner().invoke(infra.cli.app, ["trace", "1", "--file", str(file)])
    assert shown.exit_code == 0, shown.output
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "tracing.md").read_text()
    assert shown.stdout.rstrip() in guide, f"docs/guides/tracing.md: expected this tree:\n{shown.stdout}"
    document = json.loads(CliRunner().invoke(infra.cli.app, ["trace", "1", "--file", str(file), "--json"]).stdout)
    assert (document["cycle"], document["trace_id"]) == (1, f"{TRACE:032x}")
    assert len(document["spans"]) == len(of_cycle(made))


def test_a_file_of_spans_that_is_missing_or_of_something_else_is_named(tmp_path: Path) -> None:
    missing = CliRunner().invoke(infra.cli.app, ["trace", "--file", str(tmp_path / "none.jsonl")])
    assert missing.exit_code == UNREACHABLE
    assert "retune up --traces" in missing.stderr
    other = tmp_path / "other.jsonl"
    other.write_text('{"name": 1}\n')
    assert CliRunner().invoke(infra.cli.app, ["trace", "--file", str(other)]).exit_code == REFUSED
    other.write_text('{"on its way')
    nothing = CliRunner().invoke(infra.cli.app, ["trace", "7", "--file", str(other)])
    assert nothing.exit_code == REFUSED
    assert "expected spans of cycle 7" in nothing.stderr
