"""What cycles that really ran tell of the model of training: read from a bucket, never written to [io]."""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.errors import Refused
from infra.judged import judged_cycles
from infra.simulate.assumptions import Assumptions
from infra.simulate.learning import Earlier, fit_half_clips, fit_speed
from infra.simulate.trainers import work_of
from shared import keys
from shared.cas import find
from shared.documents import parse_document, parse_lines
from shared.manifest import ModelManifest
from shared.objectstore import ObjectStore
from shared.training import Clip, SetRole, TrainingConfig, TrainingResult, TrainingSpec
from shared.verdict import parse_report

HIGHEST_WER = 0.9
"""The model of speech knows no higher one."""


@dataclass(frozen=True)
class Fitted:
    """What was measured.

    Attributes:
        values: assumption -> value.
        basis: assumption -> on what it was measured.
    """

    values: dict[str, float]
    basis: dict[str, str]


def fit(store: ObjectStore) -> Fitted:
    """Fit the model of training to the cycles of a bucket.

    Raises:
        Refused: no cycle was trained and judged there, or none tells anything.
    """
    cycles = list(read_earlier(store))
    prior = Assumptions()
    values: dict[str, float] = {}
    basis: dict[str, str] = {}
    half = fit_half_clips(cycles, prior.curable)
    if half is not None:
        judged = sum(each.learned > each.before for each in cycles)
        values["half_clips"] = half
        basis["half_clips"] = f"fitted to {judged} judged cycles of {store.uri}, taking curable as it is assumed"
    config = _newest_config(store)
    speed = fit_speed(cycles, prior, config)
    if speed is not None:
        timed = sum(each.run_s is not None and each.work is not None for each in cycles)
        for name in ("train_rtf", "transcribe_rtf"):
            values[name] = getattr(prior, name) * speed
            basis[name] = f"the median of {timed} runs of {store.uri}, taking the ratio of the two as it is assumed"
    newest = next((each for each in reversed(cycles) if each.wer is not None), None)
    if newest is not None and newest.wer is not None and newest.wer < HIGHEST_WER:
        values["wer"] = newest.wer
        basis["wer"] = f"of the newest judged base of {store.uri} on its holdout"
    if not values:
        raise Refused(f"{store.uri}: expected cycles that were trained and judged, found none; leave --measured-from out")
    return Fitted(values, basis)


@dataclass(frozen=True)
class Judged(Earlier):
    """A cycle with the WER of its base.

    Attributes:
        wer: on the holdout, weighted over traffic; None = unknown.
    """

    wer: float | None = None


def read_earlier(store: ObjectStore) -> Iterator[Judged]:
    """Yield every cycle that was trained and judged, oldest first."""
    taken: dict[int, int] = {}
    for cycle in judged_cycles(store):
        found = [find(store, key) for key in (keys.spec(cycle), keys.result(cycle), keys.manifest(cycle))]
        if any(each is None for each in found):
            continue
        spec_, result_, manifest_ = (each for each in found if each is not None)
        spec = parse_document(TrainingSpec, spec_.data, what=spec_.info.key)
        result = parse_document(TrainingResult, result_.data, what=result_.info.key)
        manifest = parse_document(ModelManifest, manifest_.data, what=manifest_.info.key)
        taken[cycle] = sum(each.clips for each in spec.sets if each.role == "train_errors")
        before = sum(taken.get(number, 0) for number in manifest.learned if number != cycle)
        report = parse_report(store.get(keys.report(cycle)).data)
        holdout = next((each for each in report.sets if each.name == keys.HOLDOUT_SET and each.base.wer and each.candidate.wer), None)
        if holdout is None or holdout.base.wer is None or holdout.candidate.wer is None or not holdout.base.wer.estimate:
            continue
        run_s = result.train.get("run_s")
        seconds = _seconds(store, spec)
        yield Judged(
            before=before,
            learned=before + taken[cycle],
            ratio=holdout.candidate.wer.estimate / holdout.base.wer.estimate,
            utterances=holdout.utterances,
            run_s=float(run_s) if isinstance(run_s, int | float) else None,
            work=None if seconds is None else work_of(spec, seconds),
            wer=holdout.base.wer.estimate,
        )


def _seconds(store: ObjectStore, spec: TrainingSpec) -> dict[SetRole, float] | None:
    """Return the audio of each role; None where a clip's length is not recorded."""
    found: dict[SetRole, float] = {}
    for each in spec.sets:
        if each.role == "train_unlabelled":
            continue  # what of it was trained on, its gold decides
        lengths = [item.duration_s for item in parse_lines(Clip, store.get(each.ref.key).data, what=each.ref.key)]
        if any(length is None for length in lengths):
            return None
        found[each.role] = found.get(each.role, 0.0) + sum(length for length in lengths if length is not None)
    return found


def _newest_config(store: ObjectStore) -> TrainingConfig:
    specs = sorted(info.key for info in store.list(keys.CYCLES) if info.key.endswith("/spec.json"))
    return parse_document(TrainingSpec, store.get(specs[-1]).data, what=specs[-1]).config if specs else TrainingConfig()
