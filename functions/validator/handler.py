"""The validator: a finished training in, a verdict out: report first, then the state, then the event."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from functions.cycle_trace import handled
from functions.runtime import Ports
from functions.validator.announce import judged_event
from functions.validator.closure import close_errors, count_fates, recheck
from functions.validator.decide import Verdict, decide_verdict
from functions.validator.evidence import Evidence, Serving
from functions.validator.judged_set import JudgedSet, judge_set
from functions.validator.report import Closures, Lineage, build_report, render_html
from functions.validator.rules import GatePolicy
from functions.validator.sizing import seen_spreads
from shared import keys
from shared.bus import Message
from shared.cas import Decision, apply_with_cas, create, find
from shared.cases import Closed
from shared.cycle import CODEC, CycleState, Status, move
from shared.dataset import Row
from shared.documents import document_bytes, iter_lines, lines_bytes, parse_document, sha256_hex
from shared.errors import CorruptObject, InvalidMessage, InvariantBroken, NotFound
from shared.events import TrainingCompleted, TrainingFailed, TrainingPreempted
from shared.log import bind
from shared.manifest import ModelManifest
from shared.messages import parse_event
from shared.normalisation import BASIC
from shared.policy import Policy
from shared.suites import DEFAULT_MARGIN
from shared.training import Clip, ClipSet, EvaluationRow, ObjectRef, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport, dump_report, parse_report
from shared.wer_compare import NotTestable

SEED = 20_110
EARLIER_CYCLES = 10
"""The spread of differences is read off so many cycles at most."""


def handle(message: Message, ports: Ports) -> str:
    """Handle one message of `training-events`; return what came of it.

    Raises:
        InvalidMessage: no event that the validator knows.
        InvariantBroken: the stored report is another cycle's; nothing is announced.
    """
    event = parse_event(message, expect=(TrainingCompleted, TrainingFailed, TrainingPreempted))
    bind(event_id=event.event_id, cycle=getattr(event, "cycle", None))
    if not isinstance(event, TrainingCompleted):
        return "no candidate: the launcher's"
    with handled(ports, message, event, event.cycle):
        return _completed(ports, event)


def _completed(ports: Ports, event: TrainingCompleted) -> str:
    state = _begin(ports, event)
    if state is None or state.attempt != event.attempt:
        return f"cycle {event.cycle}: attempt {event.attempt} is not the present one"
    stored = find(ports.store, keys.report(event.cycle))
    if stored is None and state.status != Status.VALIDATING:
        return f"cycle {event.cycle} is {state.status}"
    data = stored.data if stored else _judge(ports, event)
    report = parse_report(data)
    if report.cycle != event.cycle:
        raise InvariantBroken(f"{keys.report(event.cycle)}: expected the report of cycle {event.cycle}, found that of cycle {report.cycle}")
    # Also when the report stands already: whoever wrote it may have died before its page.
    create(ports.store, keys.report_html(event.cycle), render_html(report).encode(), content_type="text/html; charset=utf-8")
    return _conclude(ports, event, report, data)


def handler(ports: Ports) -> Callable[[Message], str]:
    """Return `handle` with its ports bound."""
    return lambda message: handle(message, ports)


def _begin(ports: Ports, event: TrainingCompleted) -> CycleState | None:
    """Move the cycle to `validating` and return its state afterwards."""
    now = ports.clock.now()

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or state.status not in {Status.TRAINING, Status.INTERRUPTED} or state.attempt != event.attempt:
            return Decision(None)
        reason = f"attempt {event.attempt} completed"
        return Decision(move(state, Status.VALIDATING, at=now, by="validator", cause=event.event_id, reason=reason))

    apply_with_cas(ports.store, keys.state(event.cycle), CODEC, decide)
    found = find(ports.store, keys.state(event.cycle))
    return CODEC.parse(found.data) if found else None


def _judge(ports: Ports, event: TrainingCompleted) -> bytes:
    """Compute the verdict, write what it rests on and then the report, once; return the winner's report."""
    with ports.traces.span("judge", event.cycle):
        report, closed = judge(ports, event.cycle)
        ports.traces.note(outcome=report.outcome)
    create(ports.store, keys.closure(event.cycle), lines_bytes(closed), content_type="application/x-ndjson")
    return create(ports.store, keys.report(event.cycle), dump_report(report)).data


def _conclude(ports: Ports, event: TrainingCompleted, report: ValidationReport, data: bytes) -> str:
    now = ports.clock.now()
    to = Status(report.outcome)

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or state.status != Status.VALIDATING:
            return Decision(None)
        return Decision(move(state, to, at=now, by="validator", cause=event.event_id, reason=report.reasons[0][:1000]))

    apply_with_cas(ports.store, keys.state(event.cycle), CODEC, decide)
    ports.publish_all([judged_event(data)])
    return f"cycle {event.cycle} is {report.outcome}: {report.reasons[0]}"


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
        verdict = decide_verdict(evidence, gate, SEED, critical_words(gate))
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


def critical_words(gate: GatePolicy) -> tuple[tuple[str, ...], ...]:
    """Return the critical terms as they are compared: each in normalised words, none twice."""
    words = (tuple(BASIC.normalise(term).split()) for term in gate.critical_terms)
    return tuple(dict.fromkeys(term for term in words if term))


def gate_policy(policy: Policy, spec: TrainingSpec) -> GatePolicy:
    """Return the gate's numbers from the operator's; a suite for which they name no margin has the one that the spec was made with."""
    validation = policy.validation
    stored = {clip_set.name: clip_set.margin or DEFAULT_MARGIN for clip_set in spec.sets}
    margins = {f"{keys.SUITE_SET}{name}": suite.margin for name, suite in validation.suites.items()}
    return GatePolicy(
        alpha=validation.alpha,
        min_relative_gain=validation.min_relative_gain,
        suite_margins={name: margin or stored.get(name, DEFAULT_MARGIN) for name, margin in margins.items()},
        suites_stand_for_traffic=validation.suites_stand_for_traffic,
        judge_on_llm_gold=policy.judge_on_llm_gold,
        max_failure_rise=validation.max_failure_rise,
        critical_terms=validation.critical_terms,
        max_latency_ratio=validation.max_latency_ratio,
        max_size_ratio=validation.max_size_ratio,
        gain_to_detect=policy.min_detectable_gain,
    )


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
    sets = [_judged(ports, clip_set, result, critical_words(gate)) for clip_set in spec.sets if clip_set.role == "judge"]
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


def _judged(ports: Ports, clip_set: ClipSet, result: TrainingResult, terms: Sequence[tuple[str, ...]]) -> JudgedSet:
    stored = next((item for item in result.evaluations if item.name == clip_set.name), None)
    clips = iter_lines(Clip, _verified(ports, clip_set.ref), what=clip_set.ref.key)
    rows = iter_lines(EvaluationRow, _verified(ports, stored.ref), what=stored.ref.key) if stored else ()
    return judge_set(clip_set.name, clips, rows, result.set_aside, BASIC, terms)


def _size(manifest: ModelManifest) -> int:
    return sum(file.size_bytes for file in manifest.files)


def _earlier_reports(ports: Ports, cycle: int) -> Iterator[ValidationReport]:
    """Return the reports of the last cycles before this one."""
    for number in range(max(1, cycle - EARLIER_CYCLES), cycle):
        found = find(ports.store, keys.report(number))
        if found is not None:
            yield parse_report(found.data)


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
