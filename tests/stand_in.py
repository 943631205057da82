"""A trainer that only tests have: it moves states and writes documents in the order of the real one, and learns nothing.

Its hypotheses are what the test says. It may be cut off between any two calls, and an attempt that follows takes over what stands.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from functions.launcher.trainers import TrainerRun
from infra.simulate.trainers import store_model
from shared import keys
from shared.bus import Publisher
from shared.cas import apply_with_cas, create, find
from shared.clock import Clock
from shared.cycle import CODEC, Status, decide_begin_training
from shared.documents import document_bytes, lines_bytes, parse_document, parse_lines, sha256_hex
from shared.errors import Retryable
from shared.events import TrainingEvent, TrainingFailed, TrainingPreempted
from shared.ids import derived_event_id
from shared.manifest import ModelManifest
from shared.messages import outgoing
from shared.objectstore import ObjectStore
from shared.training import (
    HEARD_ROLES,
    BaseModelRef,
    Clip,
    ClipSet,
    EvaluationRef,
    EvaluationRow,
    Heartbeat,
    ObjectRef,
    TrainingResult,
    TrainingSpec,
    completed_event,
)

Hypothesis = Callable[[Clip], str]


def right(clip: Clip) -> str:
    return clip.reference


def wrong(clip: Clip) -> str:
    return "call back"


@dataclass(frozen=True)
class StandIn:
    """The trainer of one attempt."""

    store: ObjectStore
    publisher: Publisher
    clock: Clock
    run: TrainerRun

    def work(self, *, base: Hypothesis = wrong, candidate: Hypothesis = right) -> str:
        """Do all of a trainer's work; return "completed", or why there was none to do."""
        return self.begin() or self.finish(base, candidate)

    def begin(self) -> str:
        """Do the trainer's first act; return why it must not work."""
        if find(self.store, keys.result(self.run.cycle)) is not None:
            return "result.json exists"
        now, cause = self.clock.now(), f"start {self.run.name}"
        key = keys.state(self.run.cycle)
        return apply_with_cas(
            self.store, key, CODEC, lambda state: decide_begin_training(state, self.run.attempt, at=now, cause=cause)
        ).reason

    def beat(self) -> None:
        beat = Heartbeat(cycle=self.run.cycle, attempt=self.run.attempt, at=self.clock.now(), phase="training")
        self.store.put(keys.heartbeat(self.run.cycle), document_bytes(beat))

    def finish(self, base: Hypothesis, candidate: Hypothesis) -> str:
        """Evaluate, store a model, write the result and say so."""
        stored = self.store.get(keys.spec(self.run.cycle))
        spec = parse_document(TrainingSpec, stored.data, what="spec")
        evaluations = tuple(self._evaluate(clip_set, base, candidate) for clip_set in spec.sets if clip_set.role in HEARD_ROLES)
        model = self._store_model(spec)
        if self._unwanted():
            return "no longer wanted"
        result = TrainingResult(
            cycle=self.run.cycle,
            attempt=self.run.attempt,
            finished_at=self.clock.now(),
            spec_sha256=sha256_hex(stored.data),
            base=BaseModelRef(version=spec.base.version, manifest=spec.base.manifest),
            manifest=model,
            evaluations=evaluations,
            set_aside=(),
            lambda_trials=(),
            scale=1.0,
            train={},
        )
        data = document_bytes(result)
        if create(self.store, keys.result(self.run.cycle), data).data != data:
            return "another process has written the result"
        with suppress(Retryable):  # the sweeper announces what was not announced; a death is none of our business
            self.publisher.publish(outgoing(completed_event(result)))
        return "completed"

    def fail(self, reason: str) -> None:
        self._tell(TrainingFailed, reason=reason)

    def preempt(self) -> None:
        self._tell(TrainingPreempted)

    def _tell(self, kind: type[TrainingEvent], **fields: str) -> None:
        run = self.run
        identity = derived_event_id(kind.__name__, str(run.cycle), str(run.attempt))
        about = {"event_id": identity, "occurred_at": self.clock.now(), "cycle": run.cycle, "attempt": run.attempt}
        self.publisher.publish(outgoing(kind.model_validate({**about, **fields})))

    def _unwanted(self) -> bool:
        found = find(self.store, keys.state(self.run.cycle))
        state = CODEC.parse(found.data) if found else None
        return state is None or state.status != Status.TRAINING or state.attempt != self.run.attempt

    def _evaluate(self, clip_set: ClipSet, base: Hypothesis, candidate: Hypothesis) -> EvaluationRef:
        clips = parse_lines(Clip, self.store.get(clip_set.ref.key).data, what=clip_set.name)
        data = lines_bytes(_row(clip, base(clip), candidate(clip)) for clip in clips)
        key = keys.evaluation(self.run.cycle, f"{clip_set.name}-{sha256_hex(data)[:32]}")
        create(self.store, key, data)
        return EvaluationRef(name=clip_set.name, ref=ObjectRef(key=key, sha256=sha256_hex(data)), rows=len(clips))

    def _store_model(self, spec: TrainingSpec) -> ObjectRef:
        standing = find(self.store, keys.manifest(self.run.cycle))
        if standing is not None:
            return ObjectRef(key=standing.info.key, sha256=sha256_hex(standing.data))
        manifest = parse_document(ModelManifest, self.store.get(spec.base.manifest.key).data, what="manifest")
        learned = (*manifest.learned, self.run.cycle)
        return store_model(self.store, self.clock, self.run.cycle, base=spec.base.version, learned=learned)


def _row(clip: Clip, base: str, candidate: str) -> EvaluationRow:
    return EvaluationRow(
        utterance_id=clip.utterance_id,
        cluster=clip.cluster,
        stratum=clip.stratum,
        reference=clip.reference,
        base_hypothesis=base,
        candidate_hypothesis=candidate,
    )
