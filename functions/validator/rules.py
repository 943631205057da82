"""The gate's rules, one function each: what a result says about the candidate, in a sentence a person can check."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from functions.validator.evidence import JudgedSet
from shared.wer_compare import NonInferiority, NotTestable, Superiority
from shared.wer_stats import PairedUtterance, cluster_totals, minimum_clusters, sign_flip_test, utterances_needed
from shared.wording import interval_in_points, percent

POWER = 0.8


@dataclass(frozen=True)
class GatePolicy:
    """The numbers of the gate.

    Attributes:
        alpha: one-sided level of every test.
        min_clusters: fewest speakers or calls that may decide; never fewer than the sign-flip test needs to reach alpha.
        min_relative_gain: a gain that is surely smaller is refused (0.05: WER must be able to fall by 5%).
        suite_margins: suite -> rise of its WER that is still bearable, as a rate (0.005 is half a point).
        suites_stand_for_traffic: without a sample of unreported traffic the named suites may stand for it.
        judge_on_llm_gold: references written by a language model may judge.
        max_empty_rise: bearable rise of the share of utterances with speech for which nothing is returned.
        max_set_aside_share: largest share of a deciding set that may be missing.
        gain_to_detect: relative gain for which an open question is sized: how many more utterances would show it.
    """

    alpha: float = 0.05
    min_clusters: int = 5
    min_relative_gain: float = 0.0
    suite_margins: Mapping[str, float] = field(default_factory=dict)
    suites_stand_for_traffic: bool = False
    judge_on_llm_gold: bool = False
    max_empty_rise: float = 0.01
    max_set_aside_share: float = 0.1
    gain_to_detect: float = 0.1


@dataclass(frozen=True)
class Finding:
    """One reason: it rejects the candidate, leaves the question open, or speaks for the candidate."""

    kind: Literal["rejects", "leaves open", "supports"]
    set_name: str
    text: str


def judge_superiority(judged: JudgedSet, result: Superiority | NotTestable, policy: GatePolicy) -> Iterator[Finding]:
    """Say what the weighted comparison shows."""
    if isinstance(result, NotTestable):
        yield Finding("leaves open", judged.name, f"The models cannot be compared on the {judged.name}: {result.reason}.")
        return
    weighted = any(row.stratum != "errors" for row in judged.utterances)
    basis = "weighted over traffic" if weighted else "on the reported errors alone"
    change = f"{basis}, WER changes by {interval_in_points(result.delta)}"
    if result.worse:
        yield Finding("rejects", judged.name, f"The candidate is worse: {change}, p = {result.flip_worse.p_value:.4f} for a rise.")
        return
    if result.short_of_gain:
        wanted = f"the wanted gain of {percent(policy.min_relative_gain)} of the WER" if policy.min_relative_gain else "zero"
        yield Finding("rejects", judged.name, f"The gain is too small: {change}; even the best end of it is short of {wanted}.")
        return
    fewest = max(policy.min_clusters, minimum_clusters(policy.alpha))
    if result.delta.clusters < fewest:
        text = f"Too few speakers or calls: {result.delta.clusters}, and a verdict needs at least {fewest}; {change}."
        yield Finding("leaves open", judged.name, text)
    elif result.better:
        yield Finding("supports", judged.name, f"The candidate is better: {change}, {_sign_flip(result)}.")
    else:
        yield Finding("leaves open", judged.name, _why_not_better(judged, result, change, policy))


def _why_not_better(judged: JudgedSet, result: Superiority, change: str, policy: GatePolicy) -> str:
    if result.delta.estimate < 0.0 and result.flip.smallest_p > policy.alpha:
        return (
            f"Too few differences: the models differ on {result.flip.clusters} speakers or calls, and p <= {policy.alpha:g} takes at least "
            f"{minimum_clusters(policy.alpha)}; {change}."
        )
    if result.flip.p_value <= policy.alpha and result.delta.high < 0.0:
        return (
            f"The sample of unreported traffic is too thin: {change}, but had one more of its utterances come out worse, the upper end "
            f"would be {100 * result.cautious_high:+.2f}. More sampled utterances, or a higher sampling rate, can settle it."
        )
    return f"No significant gain: {change}, {_sign_flip(result)}. {_size_for_gain(judged, result, policy)}"


def _sign_flip(result: Superiority) -> str:
    return f"sign-flip p = {result.flip.p_value:.4f} over {result.delta.clusters} speakers or calls"


def _size_for_gain(judged: JudgedSet, result: Superiority, policy: GatePolicy) -> str:
    totals = cluster_totals(row.paired() for row in judged.utterances)
    base_wer = float(totals.base_errors.sum() / totals.words.sum())
    if base_wer == 0.0:
        return "The model in production makes no error here."
    needed = utterances_needed(result.sd_d, policy.gain_to_detect * base_wer, policy.alpha, POWER)
    further = needed - len(judged.utterances)
    gain = f"a gain of {percent(policy.gain_to_detect)} of the WER"
    if further > 0:
        return f"To show {gain} in 4 of 5 trials, about {further} further utterances like these are needed."
    return f"In 4 of 5 trials {gain} would have shown here: the true one is probably smaller."


def judge_suite(name: str, judged: JudgedSet | None, result: NonInferiority | NotTestable | None, policy: GatePolicy) -> Iterator[Finding]:
    """Say whether a named suite stays good."""
    if judged is None or result is None:
        yield Finding("leaves open", name, f"Suite {name}, which the policy names, was not evaluated.")
    elif isinstance(result, NotTestable):
        yield Finding("leaves open", name, f"Suite {name} permits no test: {result.reason}.")
    else:
        change = f"WER changes by {interval_in_points(result.delta)}"
        margin = f"the margin of {100 * result.margin:.2f} points"
        if result.worse:
            yield Finding("rejects", name, f"Suite {name} gets worse: {change}; even the lower end exceeds {margin}.")
        elif result.non_inferior:
            yield Finding("supports", name, f"Suite {name} stays good: {change}; the upper end is within {margin}.")
        else:
            needed = utterances_needed(result.sd_d, result.margin, policy.alpha, POWER) if result.margin else 0
            further = needed - len(judged.utterances)
            more = f" If the models are alike, about {further} further utterances would show it." if further > 0 else ""
            yield Finding("leaves open", name, f"Suite {name} is not shown to stay good: {change}; the upper end exceeds {margin}.{more}")


def judge_empty(judged: JudgedSet, policy: GatePolicy, seed: int) -> Iterator[Finding]:
    """Refuse a candidate that returns nothing where there is speech: the mark of a collapsed CTC model.

    Rule: the share of such utterances rises by more than `max_empty_rise`, and a cluster sign-flip test calls the rise significant at
    alpha.
    """
    totals = cluster_totals(
        PairedUtterance(
            utterance_id=row.utterance_id,
            cluster=row.cluster,
            stratum=row.stratum,
            weight=row.weight,
            words=1,
            base_errors=int(row.base_empty),
            candidate_errors=int(row.candidate_empty),
        )
        for row in judged.utterances
        if row.holds_speech
    )
    speech = float(totals.words.sum())
    if speech == 0.0:
        return
    base, candidate = float(totals.base_errors.sum()) / speech, float(totals.candidate_errors.sum()) / speech
    if candidate - base <= policy.max_empty_rise:
        return
    p_value = sign_flip_test(-totals.deltas, seed).p_value
    if p_value <= policy.alpha:
        text = (
            f"The candidate returns nothing for {percent(candidate)} of the utterances of {judged.name} that hold speech, the model in "
            f"production for {percent(base)}; a rise by more than {percent(policy.max_empty_rise)} is refused, p = {p_value:.4f}."
        )
        yield Finding("rejects", judged.name, text)


def judge_evidence(judged: JudgedSet, policy: GatePolicy) -> Iterator[Finding]:
    """Say whether the set itself may judge: complete enough, and on references that people gave.

    In the sample of traffic that nobody reported, what production transcribed may stand for a reference: its errors there count against the
    candidate, which is conservative. Anywhere else that would make the model in production its own judge.
    """
    if judged.set_aside_share > policy.max_set_aside_share:
        most = percent(policy.max_set_aside_share)
        text = f"{percent(judged.set_aside_share)} of {judged.name} could not be judged; at most {most} may be missing."
        yield Finding("leaves open", judged.name, text)
    llm = sum(row.provenance == "llm" for row in judged.utterances)
    if llm and not policy.judge_on_llm_gold:
        text = f"{llm} references of {judged.name} were written by a language model, and the policy lets only people's references judge."
        yield Finding("leaves open", judged.name, text)
    champion = sum(row.provenance == "champion" and row.stratum != "traffic" for row in judged.utterances)
    if champion:
        text = (
            f"{champion} references of {judged.name} are the production model's own transcripts outside the sample of unreported traffic."
        )
        yield Finding("leaves open", judged.name, text)
