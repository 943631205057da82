"""The gate: is the candidate better for the traffic as a whole, and no worse where it must stay good?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from functions.validator.changes import Changes, merge
from functions.validator.classic import classic_tests
from functions.validator.evidence import Evidence
from functions.validator.gates import judge_failures
from functions.validator.judged_set import JudgedSet, joined
from functions.validator.limits import limits_of
from functions.validator.rules import Finding, GatePolicy, judge_evidence, judge_suite, judge_superiority
from functions.validator.serving import judge_serving
from functions.validator.set_numbers import describe
from functions.validator.sizing import further_needed_for_margin, sample_needed
from functions.validator.slices import judge_slices
from shared.errors import InvalidMessage
from shared.verdict import ClassicTest, GateNumbers, Outcome, SetNumbers, SliceNumbers
from shared.wer_compare import NonInferiority, NotTestable, Superiority, compare_totals, non_inferiority_of_totals
from shared.wer_power import Spread


@dataclass(frozen=True)
class Verdict:
    """The decision with everything that led to it.

    Attributes:
        outcome: accepted, rejected or inconclusive.
        reasons: the deciding ones first.
        failure_reason: the first of them in one sentence, where the candidate is not accepted.
        notes: limits of the evidence, for the top of the report.
        superiority: the weighted comparison.
        suites: the comparison on each suite that the policy names and that was evaluated.
        sets: numbers of the weighted set and of every suite.
        strata: numbers of the holdout's parts alone; they never decide.
        slices: parts of the holdout; they decide only against the candidate, as the gates do.
        gates: ways in which speech models fail, and what serving costs.
        classic: tests that papers report, on the sets that decide.
        changes: the utterances that changed most.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    failure_reason: str | None
    notes: tuple[str, ...]
    superiority: Superiority | NotTestable
    suites: Mapping[str, NonInferiority | NotTestable]
    sets: tuple[SetNumbers, ...] = ()
    strata: tuple[SetNumbers, ...] = ()
    slices: tuple[SliceNumbers, ...] = ()
    gates: tuple[GateNumbers, ...] = ()
    classic: tuple[ClassicTest, ...] = ()
    changes: Changes = field(default_factory=Changes)


def decide_verdict(evidence: Evidence, policy: GatePolicy, seed: int) -> Verdict:
    """Judge a candidate.

    Accepted: the traffic-weighted WER is significantly lower (see `compare_totals`) and every suite that the policy names is non-inferior
    within its margin. Rejected: the candidate is significantly worse, as a whole, on a slice or by a gate, or worse than a suite's margin,
    or its gain is surely smaller than the wanted one. Otherwise inconclusive. One reason to reject outweighs all others. The reported
    errors alone never decide in favour: any other model looks better on what this one failed on.

    Args:
        evidence: what was judged, its sets counted with the policy's critical terms.
        policy: the gate's numbers.
        seed: of the sampled tests.

    Raises:
        InvalidMessage: the holdout holds a stratum other than `errors` and `traffic`, or a set comes twice.
    """
    _check(evidence)
    weighted, obstacle = _weigh_for_traffic(evidence, policy)
    superiority = compare_totals(
        weighted.word_totals(), weighted.sampling(), alpha=policy.alpha, seed=seed, wanted_gain=policy.min_relative_gain
    )
    named = {suite.name: suite for suite in evidence.suites if suite.name in policy.suite_margins}
    suites = {
        name: non_inferiority_of_totals(suite.word_totals(), suite.utterances, margin=policy.suite_margins[name], alpha=policy.alpha)
        for name, suite in named.items()
    }
    findings = list(judge_superiority(weighted, superiority, _spread(evidence, weighted), policy))
    if obstacle is not None:  # flattered by the selection: a gain proves nothing then, a loss does all the more
        superiority = NotTestable(obstacle.text)
        findings = [obstacle, *(finding for finding in findings if finding.kind == "rejects")]
    findings += _judge_suites(evidence, named, suites, policy)
    deciding = (evidence.holdout, *named.values())
    gates = [*judge_failures(deciding, policy, seed), *(judge_serving(evidence.serving, policy) if evidence.serving else ())]
    findings += [finding for _, finding in gates if finding is not None]
    slices, against = judge_slices(evidence.holdout, policy, seed)
    findings += against
    for judged in deciding:
        findings.extend(judge_evidence(judged, policy))
    outcome = _outcome(findings)
    return Verdict(
        outcome=outcome,
        reasons=tuple(finding.text for finding in _by_kind(findings)),
        failure_reason=_failure_reason(outcome, findings),
        notes=tuple(limits_of(evidence, policy, suites_stand=weighted is not evidence.holdout)),
        superiority=superiority,
        suites=suites,
        sets=tuple(_describe_sets((weighted, *evidence.suites), superiority, findings, policy)),
        strata=tuple(_describe_strata(evidence.holdout, policy)),
        slices=slices,
        gates=tuple(numbers for numbers, _ in gates),
        classic=tuple(test for judged in deciding for test in classic_tests(judged, seed)),
        changes=merge(judged.changes for judged in (evidence.holdout, *evidence.suites)),
    )


def _check(evidence: Evidence) -> None:
    for stratum in ("suite", "replay"):
        if evidence.holdout.is_stratum(stratum).any():
            raise InvalidMessage(f"evaluation {evidence.holdout.name}: expected the strata errors and traffic, found {stratum}")
    names = [judged.name for judged in (evidence.holdout, *evidence.suites)]
    if len(set(names)) < len(names):
        raise InvalidMessage(f"evaluation: expected each set once, found {', '.join(names)}")


def _spread(evidence: Evidence, judged: JudgedSet) -> Spread:
    return evidence.spreads.get(judged.name, Spread())


def _by_kind(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for kind in ("rejects", "leaves open", "supports") for finding in findings if finding.kind == kind]


def _outcome(findings: Sequence[Finding]) -> Outcome:
    kinds = {finding.kind for finding in findings}
    if "rejects" in kinds:
        return "rejected"
    return "inconclusive" if "leaves open" in kinds else "accepted"


def _failure_reason(outcome: Outcome, findings: Sequence[Finding]) -> str | None:
    if outcome == "accepted":
        return None
    headline = _by_kind(findings)[0].headline
    return f"The candidate is refused because {headline}." if outcome == "rejected" else f"The evidence does not decide because {headline}."


def _weigh_for_traffic(evidence: Evidence, policy: GatePolicy) -> tuple[JudgedSet, Finding | None]:
    """Return the set whose weights make it stand for all traffic, or the holdout as it is with the reason why it cannot."""
    holdout = evidence.holdout
    if not holdout.utterances or holdout.is_stratum("traffic").any():
        return holdout, None
    suites = [suite for suite in evidence.suites if suite.name in policy.suite_margins and suite.utterances]
    share = evidence.reported_share
    needed = sample_needed(_spread(evidence, holdout), policy.gain_to_detect, policy.alpha)
    if not policy.suites_stand_for_traffic or not suites:
        text = (
            "There is no sample of the traffic that nobody reported. Reported errors alone cannot tell whether the candidate is better: "
            "any other model looks better on what the one in production failed on. Publish SttSample for a random share of all utterances. "
            f"{needed}"
        )
        return holdout, Finding("leaves open", holdout.name, text, "there is no sample of the traffic that nobody reported")
    if share is None or not 0.0 < share < 1.0:
        text = (
            "Suites cannot stand for the traffic that nobody reported: the share of reported utterances is unknown. Publish SttTraffic, or "
            f"SttSample for a random share of all utterances. {needed}"
        )
        return holdout, Finding("leaves open", holdout.name, text, "nobody knows which share of the traffic was reported")
    # Reported errors of weight 1 are `share` of the traffic, so that the suites together must weigh (1 - share) / share times as many.
    weight = holdout.utterances * (1 - share) / share / sum(suite.utterances for suite in suites)
    return joined((holdout, *suites), (None, *(weight for _ in suites))), None


def _judge_suites(
    evidence: Evidence, named: Mapping[str, JudgedSet], results: Mapping[str, NonInferiority | NotTestable], policy: GatePolicy
) -> Iterable[Finding]:
    for name in sorted(policy.suite_margins):
        judged, result = named.get(name), results.get(name)
        spread = evidence.spreads.get(name, Spread())
        further = further_needed_for_margin(judged, spread, policy.suite_margins[name], policy.alpha)
        yield judge_suite(name, judged, result, further, policy)


def _describe_sets(
    judged_sets: Sequence[JudgedSet], superiority: Superiority | NotTestable, findings: Sequence[Finding], policy: GatePolicy
) -> Iterable[SetNumbers]:
    level = 1 - 2 * policy.alpha
    for position, judged in enumerate(judged_sets):
        decides = isinstance(superiority, Superiority) if position == 0 else judged.name in policy.suite_margins
        finding = " ".join(found.text for found in findings if found.set_name == judged.name)
        p_value = superiority.flip.p_value if position == 0 and isinstance(superiority, Superiority) else None
        yield describe(
            judged,
            finding=finding or "Reported only: the policy names no margin for this suite.",
            decides=decides,
            level=level,
            p_value=p_value,
            margin=policy.suite_margins.get(judged.name),
        )


def _describe_strata(holdout: JudgedSet, policy: GatePolicy) -> Iterable[SetNumbers]:
    findings = {
        "errors": "Never decides: these utterances are here because production failed on them, so that any other model looks better.",
        "traffic": "A random part of what nobody reported; it decides together with the reported errors, by its weight.",
    }
    for stratum in ("errors", "traffic"):
        inside = holdout.is_stratum(stratum)
        if inside.any():
            part = holdout.where(inside, f"{holdout.name}/{stratum}")
            yield describe(part, finding=findings[stratum], decides=False, level=1 - 2 * policy.alpha)
