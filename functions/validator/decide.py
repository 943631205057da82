"""The gate: is the candidate better for the traffic as a whole, and no worse where it must stay good?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from functions.validator.evidence import JudgedSet
from functions.validator.rules import Finding, GatePolicy, judge_empty, judge_evidence, judge_suite, judge_superiority
from functions.validator.set_numbers import describe, most_changed
from shared.errors import InvalidMessage
from shared.verdict import Outcome, SetNumbers, UtteranceChange
from shared.wer_compare import NonInferiority, NotTestable, Superiority, compare, non_inferiority


@dataclass(frozen=True)
class Evidence:
    """What was judged.

    Attributes:
        holdout: reported errors (stratum `errors`) and sampled unreported traffic (stratum `traffic`), each utterance with its weight.
        suites: regression suites; those that the policy does not name are reported and decide nothing.
        reported_share: share of all served utterances that were reported, in (0, 1); asked for only where suites stand for traffic.
    """

    holdout: JudgedSet
    suites: tuple[JudgedSet, ...] = ()
    reported_share: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The decision with everything that led to it.

    Attributes:
        outcome: accepted, rejected or inconclusive.
        reasons: the deciding ones first.
        notes: limits of the evidence, for the top of the report.
        superiority: the weighted comparison.
        suites: the comparison on each suite that the policy names and that was evaluated.
        sets: numbers of the weighted set and of every suite.
        strata: numbers of the holdout's parts alone; they never decide.
        worst_regressions: most errors more, at most ten.
        best_fixes: most errors less, at most ten.
        set_aside: clips that could not be judged, by set and reason.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    superiority: Superiority | NotTestable
    suites: Mapping[str, NonInferiority | NotTestable]
    sets: tuple[SetNumbers, ...]
    strata: tuple[SetNumbers, ...]
    worst_regressions: tuple[UtteranceChange, ...]
    best_fixes: tuple[UtteranceChange, ...]
    set_aside: Mapping[str, Mapping[str, int]]


def decide_verdict(evidence: Evidence, policy: GatePolicy, seed: int) -> Verdict:
    """Judge a candidate.

    Accepted: the traffic-weighted WER is significantly lower (see `compare`) and every suite that the policy names is non-inferior within
    its margin. Rejected: the candidate is significantly worse, or worse than a suite's margin, or its gain is surely smaller than the
    wanted one, or it returns nothing significantly more often. Otherwise inconclusive. One reason to reject outweighs all others. The
    reported errors alone never decide in favour: any other model looks better on what this one failed on.

    Raises:
        InvalidMessage: the holdout holds a stratum other than `errors` and `traffic`, or a set comes twice.
    """
    _check(evidence)
    weighted, obstacle = _weigh_for_traffic(evidence, policy)
    superiority = compare(
        [row.paired() for row in weighted.utterances], alpha=policy.alpha, seed=seed, wanted_gain=policy.min_relative_gain
    )
    named = {suite.name: suite for suite in evidence.suites if suite.name in policy.suite_margins}
    suites = {
        name: non_inferiority([row.paired() for row in suite.utterances], margin=policy.suite_margins[name], alpha=policy.alpha)
        for name, suite in named.items()
    }
    findings = list(judge_superiority(weighted, superiority, policy))
    if obstacle is not None:  # flattered by the selection: a gain proves nothing then, a loss does all the more
        superiority = NotTestable(obstacle.text)
        findings = [obstacle, *(finding for finding in findings if finding.kind == "rejects")]
    for name in sorted(policy.suite_margins):
        findings.extend(judge_suite(name, named.get(name), suites.get(name), policy))
    for judged in (evidence.holdout, *named.values()):
        findings.extend(judge_empty(judged, policy, seed))
        findings.extend(judge_evidence(judged, policy))
    regressions, fixes = most_changed((evidence.holdout, *evidence.suites))
    return Verdict(
        outcome=_outcome(findings),
        reasons=tuple(finding.text for kind in ("rejects", "leaves open", "supports") for finding in findings if finding.kind == kind),
        notes=tuple(_notes(evidence, policy, weighted)),
        superiority=superiority,
        suites=suites,
        sets=tuple(_describe_sets((weighted, *evidence.suites), superiority, findings, policy)),
        strata=tuple(_describe_strata(evidence.holdout, policy)),
        worst_regressions=regressions,
        best_fixes=fixes,
        set_aside={judged.name: judged.set_aside for judged in (evidence.holdout, *evidence.suites)},
    )


def _check(evidence: Evidence) -> None:
    strange = sorted({row.stratum for row in evidence.holdout.utterances} - {"errors", "traffic"})
    if strange:
        raise InvalidMessage(f"evaluation {evidence.holdout.name}: expected the strata errors and traffic, found {', '.join(strange)}")
    names = [judged.name for judged in (evidence.holdout, *evidence.suites)]
    if len(set(names)) < len(names):
        raise InvalidMessage(f"evaluation: expected each set once, found {', '.join(names)}")


def _outcome(findings: list[Finding]) -> Outcome:
    kinds = {finding.kind for finding in findings}
    if "rejects" in kinds:
        return "rejected"
    return "inconclusive" if "leaves open" in kinds else "accepted"


def _weigh_for_traffic(evidence: Evidence, policy: GatePolicy) -> tuple[JudgedSet, Finding | None]:
    """Return the set whose weights make it stand for all traffic, or the holdout as it is with the reason why it cannot."""
    holdout = evidence.holdout
    if any(row.stratum == "traffic" for row in holdout.utterances):
        return holdout, None
    suites = [suite for suite in evidence.suites if suite.name in policy.suite_margins and suite.utterances]
    share = evidence.reported_share
    if not policy.suites_stand_for_traffic or not suites:
        text = (
            "There is no sample of the traffic that nobody reported. Reported errors alone cannot tell whether the candidate is better: "
            "any other model looks better on what the one in production failed on. Publish SttSample for a random share of all utterances."
        )
        return holdout, Finding("leaves open", holdout.name, text)
    if share is None or not 0.0 < share < 1.0:
        text = "Suites cannot stand for the traffic that nobody reported: the share of reported utterances is unknown. Publish SttTraffic."
        return holdout, Finding("leaves open", holdout.name, text)
    # Reported errors of weight 1 are `share` of the traffic, so that the suites together must weigh (1 - share) / share times as many.
    weight = len(holdout.utterances) * (1 - share) / share / sum(len(suite.utterances) for suite in suites)
    stand_ins = [
        replace(row, utterance_id=f"{suite.name}/{row.utterance_id}", weight=weight)
        for suite in suites
        for row in suite.utterances
        if weight
    ]
    return replace(holdout, utterances=(*holdout.utterances, *stand_ins)), None


def _notes(evidence: Evidence, policy: GatePolicy, weighted: JudgedSet) -> Iterator[str]:
    if weighted is not evidence.holdout:
        yield (
            "Suites stand for the traffic that nobody reported, by the policy's leave: how the candidate does on real unreported traffic "
            f"is not measured, and the chance to accept a model that is no better may exceed {policy.alpha:g}."
        )
    rows = [row for judged in (evidence.holdout, *evidence.suites) for row in judged.utterances]
    llm = sum(row.provenance == "llm" for row in rows)
    if llm:
        yield f"{llm} of {len(rows)} references were written by a language model and not by a person."
    champion = sum(row.provenance == "champion" for row in rows)
    if champion:
        yield (
            f"For {champion} sampled utterances that nobody reported, what production transcribed stands for the reference; where the "
            "candidate corrects an unreported error this counts against it."
        )
    if not policy.suite_margins:
        yield "The policy names no regression suite: nothing but the holdout speaks against a regression."


def _describe_sets(
    judged_sets: tuple[JudgedSet, ...], superiority: Superiority | NotTestable, findings: list[Finding], policy: GatePolicy
) -> Iterator[SetNumbers]:
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


def _describe_strata(holdout: JudgedSet, policy: GatePolicy) -> Iterator[SetNumbers]:
    findings = {
        "errors": "Never decides: these utterances are here because production failed on them, so that any other model looks better.",
        "traffic": "A random part of what nobody reported; it decides together with the reported errors, by its weight.",
    }
    for stratum, finding in findings.items():
        rows = tuple(row for row in holdout.utterances if row.stratum == stratum)
        if rows:
            part = JudgedSet(name=f"{holdout.name}/{stratum}", utterances=rows, set_aside={})
            yield describe(part, finding=finding, decides=False, level=1 - 2 * policy.alpha)
