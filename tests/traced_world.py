"""The system in memory with a tracer for each function, whose spans end in one list."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from functions.collector.handler import Collector
from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.launcher.trainers import TrainerRun
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from shared import keys
from shared.bus import Message, Outgoing
from shared.documents import parse_document
from shared.otel import OtelTraces
from shared.policy import Policy
from shared.training import TrainingResult
from tests.stand_in import Hypothesis, StandIn
from tests.world import BUCKET, POLICY, World, right, wrong
from trainer.shell.attempt import Attempt
from trainer.shell.carry import carry
from trainer.shell.progress import Progress

PHASES = {"loading the base model": 12.0, "training": 840.0, "evaluating holdout": 45.0, "uploading": 20.0}
"""Seconds that each phase of the stand-in for a trainer takes by the test's clock."""


class Unheard:
    """A bus to which the stand-in says what the shell says after it."""

    def publish(self, message: Outgoing) -> str:
        return message.topic


class TracedWorld(World):
    """`World` with traces on, and the trainer's own shell around the stand-in; `exporter` may be one that fails."""

    def __init__(self, policy: Policy = POLICY, *, exporter: SpanExporter | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self._sink = exporter or self.exporter
        super().__init__(policy)

    def traces(self, function: str) -> OtelTraces:
        made = OtelTraces(f"retune-{function}", BUCKET, self.clock)
        made.provider.add_span_processor(SimpleSpanProcessor(self._sink))
        return made

    def deploy(self, policy: Policy) -> None:
        super().deploy(policy)

        def ports(function: str) -> Ports:
            return replace(self.ports, traces=self.traces(function))

        def deps(function: str) -> LaunchDeps:
            return replace(self.deps, ports=ports(function))

        self.handlers: dict[str, Callable[[Message], str]] = {
            "collector": Collector(ports("collector"), self.audio.check),
            "launcher": launcher(deps("launcher")),
            "validator": validator(ports("validator")),
            "deployer": deployer(ports("deployer")),
            "sweeper": sweeper(deps("sweeper")),
        }
        self.trainer_traces = self.traces("trainer")

    def work(self, run: TrainerRun, *, base: Hypothesis = wrong, candidate: Hypothesis = right) -> str:
        with TemporaryDirectory() as folder:
            progress = Progress(Path(folder) / "train-log.jsonl", self.clock, bars=False)
            attempt = Attempt(self.store, self.bus, self.clock, run.cycle, run.attempt, progress, traces=self.trainer_traces)

            def do() -> TrainingResult:
                for phase, seconds in PHASES.items():
                    progress.enter(phase)
                    self.clock.advance(seconds)
                    if phase == "training":
                        progress.log("epoch", epoch=1, loss=0.5, note="a person's words")
                assert StandIn(self.store, Unheard(), self.clock, run).finish(base, candidate) == "completed"
                result = parse_document(TrainingResult, self.store.get(keys.result(run.cycle)).data, what="result")
                return result.model_copy(update={"train": {"run_s": progress.elapsed_s}})

            ending = carry(attempt, do)
        self.trainers.delete(run.name)
        return str(ending.value[0])

    def take_time(self) -> None:
        """Let every call of the store take 20 ms from now on, by the test's clock."""
        own = threading.current_thread()

        def pass_time(_operation: str, _key: str) -> None:
            if threading.current_thread() is own:  # threads that pin audio or beat come in any order
                self.clock.advance(0.02)

        self.store.before = pass_time


def spans_of(world: TracedWorld) -> list[ReadableSpan]:
    """Return what was exported, each span once: what is told from records may be told again, and is the very same."""
    known: dict[int, ReadableSpan] = {}
    for span in world.exporter.get_finished_spans():
        assert span.context is not None
        before = known.setdefault(span.context.span_id, span)
        assert facts(before) == facts(span)
    return list(known.values())


def facts(span: ReadableSpan) -> tuple[object, ...]:
    moments = [(event.name, event.timestamp) for event in span.events]
    return span.name, span.start_time, span.end_time, dict(span.attributes or {}), span.parent, moments


def tree(spans: Sequence[ReadableSpan]) -> list[str]:
    """Return the spans as lines, children two columns further in than their parents, in the order of their beginning.

    What belongs to a parent that is not there (yet) stands at the top.
    """
    known = {span.context.span_id for span in spans if span.context is not None}
    under: dict[int | None, list[ReadableSpan]] = {}
    for span in spans:
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
        under.setdefault(parent, []).append(span)

    def lines(parent: int | None, depth: int) -> list[str]:
        found = []
        for span in sorted(under.get(parent, ()), key=lambda span: (span.start_time or 0, span.name)):
            assert span.context is not None
            found.append(f"{'  ' * depth}{str(span.resource.attributes['service.name']).removeprefix('retune-')}: {span.name}")
            found += lines(span.context.span_id, depth + 1)
        return found

    return lines(None, 0)


def write_spans(world: TracedWorld, file: Path) -> None:
    """Write what was exported as the stack's file has it: one line a span."""
    file.write_text("".join(json.dumps(json.loads(span.to_json())) + "\n" for span in world.exporter.get_finished_spans()))


def at(nanoseconds: int | None) -> datetime:
    return datetime.fromtimestamp((nanoseconds or 0) / 1e9, UTC)
