"""The validator: a finished training in, a verdict out: report first, then the state, then the event."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.runtime import Ports
from functions.validator.announce import judged_event
from functions.validator.decide import Evidence, Verdict, decide_verdict
from functions.validator.evidence import judge_set
from functions.validator.report import Lineage, build_report, render_html
from functions.validator.rules import GatePolicy
from shared import keys
from shared.bus import Message
from shared.cas import Decision, apply_with_cas, create, find
from shared.corpora import DEFAULT_MARGIN
from shared.cycle import CODEC, CycleState, Status, move
from shared.dataset import Row
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.events import TrainingCompleted, TrainingFailed, TrainingPreempted, parse_event
from shared.log import bind
from shared.policy import Policy
from shared.training import (
    Clip,
    EvaluationRow,
    ModelManifest,
    ObjectRef,
    TrainingResult,
    TrainingSpec,
    parse_document,
    parse_lines,
    sha256_hex,
)
from shared.verdict import ValidationReport, dump_report, parse_report
from shared.wer import BASIC

SEED = 20_110


def handle(message: Message, ports: Ports) -> str:
    """Handle one message of `training-events`; return what came of it.

    Raises:
        InvalidMessage: no event that the validator knows.
    """
    event = parse_event(message, expect=(TrainingCompleted, TrainingFailed, TrainingPreempted))
    bind(event_id=event.event_id, cycle=getattr(event, "cycle", None))
    if not isinstance(event, TrainingCompleted):
        return "no candidate: the launcher's"
    state = _begin(ports, event)
    if state is None or state.attempt != event.attempt:
        return f"cycle {event.cycle}: attempt {event.attempt} is not the present one"
    stored = find(ports.store, keys.report(event.cycle))
    if stored is None and state.status != Status.VALIDATING:
        return f"cycle {event.cycle} is {state.status}"
    return _conclude(ports, event, stored.data if stored else _judge(ports, event))


def handler(ports: Ports) -> Callable[[Message], str]:
    """Return `handle` with its ports bound."""
    return lambda message: handle(message, ports)


def _begin(ports: Ports, event: TrainingCompleted) -> CycleState | None:
    """Move the cycle to `validating` and return its state afterwards."""
    now = ports.clock.now()

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or state.status != Status.TRAINING or state.attempt != event.attempt:
            return Decision(None)
        reason = f"attempt {event.attempt} completed"
        return Decision(move(state, Status.VALIDATING, at=now, by="validator", cause=event.event_id, reason=reason))

    apply_with_cas(ports.store, keys.state(event.cycle), CODEC, decide)
    found = find(ports.store, keys.state(event.cycle))
    return CODEC.parse(found.data) if found else None


def _judge(ports: Ports, event: TrainingCompleted) -> bytes:
    """Compute the verdict, write the report once, and return the winner as stored."""
    report = judge(ports, event.cycle)
    stored = create(ports.store, keys.report(event.cycle), dump_report(report))
    winner = parse_report(stored.data)
    create(ports.store, keys.report_html(event.cycle), render_html(winner).encode(), content_type="text/html; charset=utf-8")
    return stored.data


def _conclude(ports: Ports, event: TrainingCompleted, stored: bytes) -> str:
    report = parse_report(stored)
    now = ports.clock.now()
    to = Status(report.outcome)

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or state.status != Status.VALIDATING:
            return Decision(None)
        return Decision(move(state, to, at=now, by="validator", cause=event.event_id, reason=report.reasons[0][:1000]))

    apply_with_cas(ports.store, keys.state(event.cycle), CODEC, decide)
    ports.publish_all([judged_event(stored)])
    return f"cycle {event.cycle} is {report.outcome}: {report.reasons[0]}"


@dataclass(frozen=True)
class _Documents:
    """The documents of a cycle as stored, with their digests, and the share of its traffic that was reported."""

    spec: TrainingSpec
    result: TrainingResult
    lineage: Lineage
    reported_share: float | None


def judge(ports: Ports, cycle: int) -> ValidationReport:
    """Recompute everything from the stored hypotheses; evidence that contradicts itself is inconclusive, with the reason.

    Raises:
        NotFound: there is no result or spec yet.
    """
    documents = _documents(ports, cycle)
    gate = gate_policy(ports.settings.policy, documents.spec)
    try:
        verdict = decide_verdict(_evidence(ports, documents), gate, SEED)
    except (InvalidMessage, CorruptObject, NotFound) as error:
        verdict = _broken(str(error))
    return build_report(verdict, documents.lineage, gate, ports.clock.now())


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
    )


def _documents(ports: Ports, cycle: int) -> _Documents:
    stored_spec = ports.store.get(keys.spec(cycle))
    stored_result = ports.store.get(keys.result(cycle))
    spec = parse_document(TrainingSpec, stored_spec.data, what=keys.spec(cycle))
    result = parse_document(TrainingResult, stored_result.data, what=keys.result(cycle))
    manifest = ports.store.get(keys.manifest(cycle)).data
    rows = parse_lines(Row, ports.store.get(spec.dataset.key).data, what=spec.dataset.key)
    parse_document(ModelManifest, manifest, what=keys.manifest(cycle))
    lineage = Lineage(
        cycle=cycle,
        version=cycle,
        base_version=spec.base.version,
        model_manifest_sha256=sha256_hex(manifest),
        dataset_sha256=spec.dataset.sha256,
        spec_sha256=sha256_hex(stored_spec.data),
        result_sha256=sha256_hex(stored_result.data),
        normaliser=BASIC.name_version,
        left_out=_left_out(rows, result),
        base_manifest_sha256=spec.base.manifest.sha256,
    )
    return _Documents(spec, result, lineage, _reported_share(rows))


def _left_out(rows: Sequence[Row], result: TrainingResult) -> dict[str, dict[str, int]]:
    """Count what nobody could use, by set and reason."""
    aside: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.set_aside is not None and row.kind != "correction":
            aside["dataset"][row.set_aside] += 1
    for entry in result.set_aside:
        aside[entry.set_name][entry.reason] += 1
    return {name: dict(sorted(reasons.items())) for name, reasons in sorted(aside.items())}


def _reported_share(rows: Sequence[Row]) -> float | None:
    """Return the share of served utterances that were reported as errors; None = no traffic was counted."""
    served = sum(row.utterances or 0 for row in rows if row.origin == "fresh")
    errors = sum(row.kind == "error" and row.origin == "fresh" and row.set_aside != "duplicate" for row in rows)
    return min(errors / served, 1.0) if served else None


def _evidence(ports: Ports, documents: _Documents) -> Evidence:
    spec, result, lineage = documents.spec, documents.result, documents.lineage
    claims = {
        "spec": (result.spec_sha256, lineage.spec_sha256),
        "manifest": (result.manifest.sha256, lineage.model_manifest_sha256),
        "base": (result.base.manifest.sha256, spec.base.manifest.sha256),
    }
    for what, (found, expected) in claims.items():
        if found != expected:
            raise InvalidMessage(f"result of cycle {spec.cycle}: expected the {what} {expected[:12]}..., found {found[:12]}...")
    stored = {item.name: item for item in result.evaluations}
    sets = []
    for clip_set in spec.sets:
        if clip_set.role != "judge":
            continue
        clips = parse_lines(Clip, _verified(ports, clip_set.ref), what=clip_set.ref.key)
        reference = stored.get(clip_set.name)
        rows = parse_lines(EvaluationRow, _verified(ports, reference.ref), what=reference.ref.key) if reference else []
        sets.append(judge_set(clip_set.name, clips, rows, result.set_aside, BASIC))
    holdout = next((judged for judged in sets if judged.name == keys.HOLDOUT_SET), None)
    if holdout is None:
        raise InvalidMessage(
            f"spec of cycle {spec.cycle}: expected a set named {keys.HOLDOUT_SET}, found {[judged.name for judged in sets]}"
        )
    suites = tuple(judged for judged in sets if judged is not holdout)
    return Evidence(holdout=holdout, suites=suites, reported_share=documents.reported_share)


def _verified(ports: Ports, ref: ObjectRef) -> bytes:
    data = ports.store.get(ref.key).data
    if sha256_hex(data) != ref.sha256:
        raise CorruptObject(f"{ref.key}: expected SHA-256 {ref.sha256}, found {sha256_hex(data)}")
    return data


def _broken(problem: str) -> Verdict:
    from shared.wer_compare import NotTestable

    reason = f"The stored evidence contradicts itself: {problem}"
    return Verdict("inconclusive", (reason,), (), NotTestable(reason), {}, (), (), (), (), {})
