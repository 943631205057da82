"""Trainers that exist only in the books: they take the time that is modelled, and hear what the modelled versions hear.

The order of calls is the real trainer's: state first, heartbeats, model, evaluations, gold, result, event.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

import numpy as np

from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from infra.simulate.assumptions import Assumptions
from infra.simulate.learning import Work, mended, replay_clips, run_seconds
from infra.simulate.speech import Modelled, Speech, key_of, uniform
from shared import keys
from shared.bus import Publisher
from shared.cas import apply_with_cas, create, find
from shared.clock import Clock
from shared.cycle import CODEC, decide_begin_training
from shared.documents import document_bytes, lines_bytes, parse_document, parse_lines, sha256_hex
from shared.events import TrainingEvent, TrainingPreempted
from shared.gold import GoldRecord
from shared.ids import derived_event_id
from shared.manifest import FileDigest, ModelManifest
from shared.messages import outgoing
from shared.objectstore import ObjectStore, crc32c_base64
from shared.training import (
    HEARD_ROLES,
    AnyClip,
    BaseModelRef,
    Clip,
    ClipSet,
    EvaluationRef,
    EvaluationRow,
    Heartbeat,
    ObjectRef,
    ServingFigures,
    SetRole,
    TrainingResult,
    TrainingSpec,
    UnlabelledClip,
    completed_event,
)

HOUR_S = 3600.0


@dataclass
class _Machine:
    """A machine that was started; it works from `begun` on."""

    run: TrainerRun
    started: datetime
    begun: datetime | None = None
    needs_s: float = 0.0
    ends_s: float | None = None


@dataclass
class SimulatedTrainers:
    """`TrainerLauncher` whose machines do their work when `work` is called.

    Attributes:
        store, publisher, clock: of the simulated bucket.
        speech: what every version hears.
        rows: rows of the utterances of some ids.
        assumptions, seed: of the model.
        trained: cycle -> clips with references that its training took.
    """

    store: ObjectStore
    publisher: Publisher
    clock: Clock
    speech: Speech
    rows: Callable[[Sequence[str]], list[int]]
    assumptions: Assumptions
    seed: int
    trained: dict[int, int] = field(default_factory=dict)
    _machines: dict[str, _Machine] = field(default_factory=dict)
    _done_s: dict[int, float] = field(default_factory=dict)

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start a machine; see `TrainerLauncher.start`."""
        self._machines.setdefault(run.name, _Machine(run, self.clock.now()))
        return Started("nowhere")

    def delete(self, name: str) -> None:
        """End a machine; see `TrainerLauncher.delete`."""
        self._machines.pop(name, None)

    def list_names(self) -> list[str]:
        """Return the machines that are there; see `TrainerLauncher.list_names`."""
        return sorted(self._machines)

    def modelled(self, cycle: int) -> Modelled | None:
        """Return the model that a cycle's training made; None = it has made none."""
        return self.speech.model(cycle) if cycle in self.trained else None

    def work(self) -> None:
        """Let every machine do what it would have done until now."""
        for machine in list(self._machines.values()):
            self._work(machine)

    def _work(self, machine: _Machine) -> None:
        now = self.clock.now()
        if machine.begun is None:
            begun = machine.started + timedelta(seconds=self.assumptions.boot_s)
            if now < begun:
                return
            if self._begin(machine.run):
                self.delete(machine.run.name)
                return
            machine.begun, machine.needs_s = now, self._needs_s(machine.run.cycle)
            machine.ends_s = self._preempted_after_s(machine.run)
        worked_s = (now - machine.begun).total_seconds()
        self._beat(machine.run)
        if machine.ends_s is not None and machine.ends_s < machine.needs_s and worked_s >= machine.ends_s:
            # what was trained until the last checkpoint is not trained again
            self._done_s[machine.run.cycle] = self._done_s.get(machine.run.cycle, 0.0) + machine.ends_s
            self.delete(machine.run.name)
            self._tell(TrainingPreempted, machine.run)
        elif worked_s >= machine.needs_s:
            self._finish(machine)
            self.delete(machine.run.name)

    def _begin(self, run: TrainerRun) -> str:
        if find(self.store, keys.result(run.cycle)) is not None:
            return "result.json exists"
        now, cause = self.clock.now(), f"start {run.name}"
        return apply_with_cas(
            self.store, keys.state(run.cycle), CODEC, lambda state: decide_begin_training(state, run.attempt, at=now, cause=cause)
        ).reason

    def _beat(self, run: TrainerRun) -> None:
        beat = Heartbeat(cycle=run.cycle, attempt=run.attempt, at=self.clock.now(), phase="training")
        self.store.put(keys.heartbeat(run.cycle), document_bytes(beat))

    def _preempted_after_s(self, run: TrainerRun) -> float | None:
        rate = self.assumptions.preemptions_per_h
        if not rate:
            return None
        drawn = uniform(key_of(self.seed, f"preempted {run.name}"), np.zeros(1, dtype=np.uint64))[0]
        return float(-np.log1p(-drawn) / rate * HOUR_S)

    def _needs_s(self, cycle: int) -> float:
        spec = self._spec(cycle)
        work = work_of(spec, self._seconds(spec))
        needed = run_seconds(work, self.assumptions, spec.config) - self._done_s.get(cycle, 0.0)
        return max(needed, 2 * work.heard_s * self.assumptions.transcribe_rtf)

    def _seconds(self, spec: TrainingSpec) -> dict[SetRole, float]:
        """Return the audio of each role, in seconds."""
        found: dict[SetRole, float] = {}
        for each in spec.sets:
            clips = self._unlabelled(each) if each.role == "train_unlabelled" else self._clips(each)
            length = sum(item.duration_s or self.assumptions.clip_s for item in clips)
            share = self.assumptions.gold_accepted if each.role == "train_unlabelled" else 1.0
            found[each.role] = found.get(each.role, 0.0) + share * length
        return found

    def _finish(self, machine: _Machine) -> None:
        run = machine.run
        stored = self.store.get(keys.spec(run.cycle))
        spec = parse_document(TrainingSpec, stored.data, what=stored.info.key)
        accepted = self._make_gold(spec)
        taken = sum(each.clips for each in spec.sets if each.role == "train_errors") + accepted
        self.trained[run.cycle] = taken
        base = self.speech.model(spec.base.version)
        learned = base.learned + taken
        share = mended(base.learned, learned, self.assumptions)
        self.speech.add(Modelled(run.cycle, spec.base.version, learned, base.level * (1 - share), share))
        evaluations = tuple(self._evaluate(run.cycle, spec, each) for each in spec.sets if each.role in HEARD_ROLES)
        heard_s = sum(self._seconds(spec).get(role, 0.0) for role in HEARD_ROLES)
        rtf = self.assumptions.transcribe_rtf
        result = TrainingResult(
            cycle=run.cycle,
            attempt=run.attempt,
            finished_at=self.clock.now(),
            spec_sha256=sha256_hex(stored.data),
            base=BaseModelRef(version=spec.base.version, manifest=spec.base.manifest),
            manifest=self._store_model(spec),
            evaluations=evaluations,
            set_aside=(),
            lambda_trials=(),
            scale=1.0,
            train={"run_s": round(machine.needs_s, 1), "simulated": True},
            serving=ServingFigures(audio_s=heard_s, base_rtf=rtf, candidate_rtf=rtf, smoke_test_passed=True),
        )
        create(self.store, keys.result(run.cycle), document_bytes(result))
        self.publisher.publish(outgoing(completed_event(result)))

    def _tell(self, kind: type[TrainingEvent], run: TrainerRun) -> None:
        identity = derived_event_id(kind.__name__, str(run.cycle), str(run.attempt))
        event = kind(event_id=identity, occurred_at=self.clock.now(), cycle=run.cycle, attempt=run.attempt)
        self.publisher.publish(outgoing(event))

    def _spec(self, cycle: int) -> TrainingSpec:
        return parse_document(TrainingSpec, self.store.get(keys.spec(cycle)).data, what=keys.spec(cycle))

    def _clips(self, clip_set: ClipSet) -> list[Clip]:
        return _read(self.store, clip_set, Clip)

    def _unlabelled(self, clip_set: ClipSet) -> list[UnlabelledClip]:
        return _read(self.store, clip_set, UnlabelledClip)

    def _make_gold(self, spec: TrainingSpec) -> int:
        """Write what the gold model's answers come to; return how many were accepted."""
        if spec.gold is None:
            return 0
        clips = list(chain.from_iterable(self._unlabelled(each) for each in spec.sets if each.role == "train_unlabelled"))
        rows = np.asarray(self.rows([item.utterance_id for item in clips]), dtype=np.uint64)
        taken = uniform(key_of(self.seed, "gold"), rows) < self.assumptions.gold_accepted
        records = [
            GoldRecord(utterance_id=item.utterance_id, decision="accepted" if good else "rejected", reason="simulated")
            for item, good in zip(clips, taken.tolist(), strict=True)
        ]
        create(self.store, keys.gold(spec.cycle), lines_bytes(records))
        return int(taken.sum())

    def _evaluate(self, cycle: int, spec: TrainingSpec, clip_set: ClipSet) -> EvaluationRef:
        clips = self._clips(clip_set)
        rows = self.rows([item.utterance_id for item in clips])
        base, candidate = self.speech.heard(spec.base.version, rows), self.speech.heard(cycle, rows)
        data = lines_bytes(
            EvaluationRow(
                utterance_id=item.utterance_id,
                cluster=item.cluster,
                stratum=item.stratum,
                reference=item.reference,
                base_hypothesis=before,
                candidate_hypothesis=after,
            )
            for item, before, after in zip(clips, base, candidate, strict=True)
        )
        key = keys.evaluation(cycle, clip_set.name)
        create(self.store, key, data)
        return EvaluationRef(name=clip_set.name, ref=ObjectRef(key=key, sha256=sha256_hex(data)), rows=len(clips))

    def _store_model(self, spec: TrainingSpec) -> ObjectRef:
        base = parse_document(ModelManifest, self.store.get(spec.base.manifest.key).data, what=spec.base.manifest.key)
        return store_model(self.store, self.clock, spec.cycle, base=spec.base.version, learned=(*base.learned, spec.cycle))


def _read(store: ObjectStore, clip_set: ClipSet, kind: type[AnyClip]) -> list[AnyClip]:
    return parse_lines(kind, store.get(clip_set.ref.key).data, what=clip_set.ref.key)


def work_of(spec: TrainingSpec, seconds: dict[SetRole, float]) -> Work:
    """Return what a run has to do.

    Args:
        spec: of the run.
        seconds: audio of each role; of clips without a reference only what is expected to be accepted.
    """
    errors = seconds.get("train_errors", 0.0) + seconds.get("train_unlabelled", 0.0)
    return Work(
        train_s=errors + replay_clips(errors, seconds.get("train_replay", 0.0), spec.config),
        dev_s=seconds.get("dev_errors", 0.0) + seconds.get("dev_replay", 0.0),
        heard_s=sum(seconds.get(role, 0.0) for role in HEARD_ROLES),
        epochs=spec.config.epochs,
    )


def store_model(store: ObjectStore, clock: Clock, version: int, *, base: int | None, learned: tuple[int, ...]) -> ObjectRef:
    """Store a model that can do nothing: its file, its manifest last."""
    weights = f"weights of v{version}".encode()
    create(store, f"{keys.model(version)}model.safetensors", weights)
    digest = FileDigest(name="model.safetensors", sha256=sha256_hex(weights), crc32c=crc32c_base64(weights), size_bytes=len(weights))
    manifest = ModelManifest(
        version=version,
        origin="imported" if base is None else "trained",
        created_at=clock.now(),
        files=(digest,),
        base_version=base,
        learned=learned,
    )
    stored = create(store, keys.manifest(version), document_bytes(manifest))
    return ObjectRef(key=keys.manifest(version), sha256=sha256_hex(stored.data))
