"""Recomputes a verdict from what a training left behind: spec, result, manifest, dataset, hypotheses, each by digest. Read only [io]."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from functions.runtime import Ports
from functions.validator.closure import close_errors, count_fates, recheck
from functions.validator.counting import Words
from functions.validator.decide import Verdict, decide_verdict
from functions.validator.evidence import Evidence, Serving
from functions.validator.judged_set import JudgedSet, judge_set
from functions.validator.report import Closures, Lineage, build_report
from functions.validator.rules import GatePolicy, gate_policy
from functions.validator.sizing import seen_spreads
from shared import keys
from shared.cases import Closed
from shared.dataset import Row
from shared.documents import document_bytes, iter_lines, parse_document, sha256_hex
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.head import FIRST_CYCLE
from shared.manifest import ModelManifest
from shared.normalisation import BASIC
from shared.training import Clip, ClipSet, EvaluationRow, ObjectRef, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport, find_report
from shared.wer_compare import NotTestable

SEED = 20_110
EARLIER_CYCLES = 10
"""The spread of differences is read off so many cycles at most."""


@dataclass(frozen=True)
class _Documents:
    """What the launcher wanted and the trainer says it did, and their digests."""

    spec: TrainingSpec
    result: TrainingResult
    lineage: Lineage


@dataclass(frozen=True)
class _Contents:
    """What the candidate's manifest and the dataset tell; see `_read_dataset`."""

    manifest: ModelManifest
    left_out: Mapping[str, Mapping[str, int]]
    reported_share: float | None


def judge(ports: Ports, cycle: int) -> tuple[ValidationReport, tuple[Closed, ...]]:
    """Recompute everything from the stored hypotheses; evidence that contradicts itself is inconclusive, with the reason.

    Returns:
        The report, and what became of each production error.

    Raises:
        NotFound: there is no result or spec yet.
    """
    documents = _documents(ports, cycle)
    lineage, gate = documents.lineage, gate_policy(ports.settings.policy, documents.spec)
    try:
        contents = _contents(ports, documents)
        made_by = contents.manifest.details.get("code", {})
        lineage = replace(lineage, left_out=contents.left_out, learned=contents.manifest.learned, code=made_by)
        evidence = _evidence(ports, documents, contents, gate)
        rechecked = {each.name: _judged(ports, each, documents.result, ()) for each in documents.spec.sets if each.role == "recheck"}
        verdict = decide_verdict(evidence, gate, SEED)
    except (InvalidMessage, CorruptObject, NotFound) as error:
        return build_report(_broken(str(error)), lineage, gate, ports.clock.now()), ()
    base = documents.spec.base.version
    learning = rechecked.get(keys.LEARNING_SET)
    closures = Closures(
        held_out=count_fates(evidence.holdout),
        learned=count_fates(learning) if learning else None,
        rechecks=tuple(recheck(judged) for name, judged in rechecked.items() if name != keys.LEARNING_SET),
    )
    closed = [*close_errors(evidence.holdout, base, cycle, learned=False)]
    closed += close_errors(learning, base, cycle, learned=True) if learning else ()
    return build_report(verdict, lineage, gate, ports.clock.now(), closures), tuple(closed)


def _documents(ports: Ports, cycle: int) -> _Documents:
    stored_spec = ports.store.get(keys.spec(cycle))
    stored_result = ports.store.get(keys.result(cycle))
    spec = parse_document(TrainingSpec, stored_spec.data, what=keys.spec(cycle))
    result = parse_document(TrainingResult, stored_result.data, what=keys.result(cycle))
    lineage = Lineage(
        cycle=cycle,
        version=cycle,
        base_version=spec.base.version,
        model_manifest_sha256=result.manifest.sha256,
        dataset_sha256=spec.dataset.sha256,
        spec_sha256=sha256_hex(stored_spec.data),
        result_sha256=sha256_hex(stored_result.data),
        normaliser=BASIC.name_version,
        left_out={},
        base_manifest_sha256=spec.base.manifest.sha256,
        policy_sha256=spec.policy.sha256 if spec.policy else None,
        judged_under_sha256=sha256_hex(document_bytes(ports.settings.policy)),
    )
    return _Documents(spec, result, lineage)


def _contents(ports: Ports, documents: _Documents) -> _Contents:
    spec, result = documents.spec, documents.result
    manifest = _manifest(ports, ObjectRef(key=keys.manifest(spec.cycle), sha256=result.manifest.sha256))
    dataset = ports.store.get(spec.dataset.key).data
    left_out, reported_share = _read_dataset(iter_lines(Row, dataset, what=spec.dataset.key), result)
    return _Contents(manifest, left_out, reported_share)


def _read_dataset(rows: Iterable[Row], result: TrainingResult) -> tuple[dict[str, dict[str, int]], float | None]:
    """Count what nobody could use, by set and reason, and tell the share of served utterances that were reported as errors.

    The share is None where no traffic was counted.
    """
    aside: dict[str, Counter[str]] = defaultdict(Counter)
    served = errors = 0
    for row in rows:
        if row.set_aside is not None and row.kind != "correction":
            aside["dataset"][row.set_aside] += 1
        if row.origin == "fresh":
            served += row.utterances or 0
            errors += row.kind == "error" and row.set_aside != "duplicate"
    for entry in result.set_aside:
        aside[entry.set_name][entry.reason] += 1
    left_out = {name: dict(sorted(reasons.items())) for name, reasons in sorted(aside.items())}
    return left_out, min(errors / served, 1.0) if served else None


def _evidence(ports: Ports, documents: _Documents, contents: _Contents, gate: GatePolicy) -> Evidence:
    spec, result, lineage = documents.spec, documents.result, documents.lineage
    claims = {
        "spec": (result.spec_sha256, lineage.spec_sha256),
        "base": (result.base.manifest.sha256, spec.base.manifest.sha256),
    }
    for what, (found, expected) in claims.items():
        if found != expected:
            raise InvalidMessage(f"result of cycle {spec.cycle}: expected the {what} {expected[:12]}..., found {found[:12]}...")
    sets = [_judged(ports, clip_set, result, gate.critical_terms) for clip_set in spec.sets if clip_set.role == "judge"]
    holdout = next((judged for judged in sets if judged.name == keys.HOLDOUT_SET), None)
    if holdout is None:
        raise InvalidMessage(
            f"spec of cycle {spec.cycle}: expected a set named {keys.HOLDOUT_SET}, found {[judged.name for judged in sets]}"
        )
    base = _manifest(ports, spec.base.manifest)
    return Evidence(
        holdout=holdout,
        suites=tuple(judged for judged in sets if judged is not holdout),
        reported_share=contents.reported_share,
        spreads=seen_spreads(_earlier_reports(ports, spec.cycle)),
        serving=Serving(base_bytes=_size(base), candidate_bytes=_size(contents.manifest), figures=result.serving),
        first=base.origin == "imported",
    )


def _judged(ports: Ports, clip_set: ClipSet, result: TrainingResult, terms: Sequence[Words]) -> JudgedSet:
    stored = next((item for item in result.evaluations if item.name == clip_set.name), None)
    clips = iter_lines(Clip, _verified(ports, clip_set.ref), what=clip_set.ref.key)
    rows = iter_lines(EvaluationRow, _verified(ports, stored.ref), what=stored.ref.key) if stored else ()
    return judge_set(clip_set.name, clips, rows, result.set_aside, BASIC, terms)


def _size(manifest: ModelManifest) -> int:
    return sum(file.size_bytes for file in manifest.files)


def _earlier_reports(ports: Ports, cycle: int) -> Iterator[ValidationReport]:
    """Yield the reports of the last cycles before this one."""
    found = (find_report(ports.store, number) for number in range(max(FIRST_CYCLE, cycle - EARLIER_CYCLES), cycle))
    return (report for report in found if report is not None)


def _manifest(ports: Ports, ref: ObjectRef) -> ModelManifest:
    return parse_document(ModelManifest, _verified(ports, ref), what=ref.key)


def _verified(ports: Ports, ref: ObjectRef) -> bytes:
    data = ports.store.get(ref.key).data
    if sha256_hex(data) != ref.sha256:
        raise CorruptObject(f"{ref.key}: expected SHA-256 {ref.sha256}, found {sha256_hex(data)}")
    return data


def _broken(problem: str) -> Verdict:
    reason = f"The stored evidence contradicts itself: {problem}"
    headline = "The evidence does not decide because what is stored contradicts itself."
    return Verdict("inconclusive", (reason,), headline, (), NotTestable(reason), {})
