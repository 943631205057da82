"""The gate's rules, one function each: what a result says about the candidate, in a sentence a person can check."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Literal

from functions.validator.counting import Words
from functions.validator.judged_set import JudgedSet
from functions.validator.sizing import further_needed
from shared import keys
from shared.normalisation import BASIC
from shared.policy import Policy
from shared.suites import DEFAULT_MARGIN
from shared.training import TrainingSpec
from shared.wer_compare import NonInferiority, NotTestable, Superiority
from shared.wer_power import Spread
from shared.wer_stats import minimum_clusters
from shared.wording import interval_in_points, percent

MAX_SET_ASIDE_SHARE = 0.1
"""Largest share of a deciding set that may be missing."""


@dataclass(frozen=True)
class GatePolicy:
    """The numbers of the gate.

    Attributes:
        alpha: one-sided level of every test, and of every family of tests that share a claim.
        min_clusters: fewest speakers or calls that may decide; never fewer than the sign-flip test needs to reach alpha.
        min_relative_gain: a gain that is surely smaller is refused (0.05: WER must be able to fall by 5%).
        suite_margins: suite -> rise of its WER that is still bearable, as a rate (0.005 is half a point).
        suites_stand_for_traffic: without a sample of unreported traffic the named suites may stand for it.
        judge_on_llm_gold: references written by a language model may judge.
        max_failure_rise: bearable rise of the rate of each kind of failure, see `gates`.
        critical_terms: words or phrases that must not be heard less often, each in normalised words, none twice.
        max_latency_ratio: bearable ratio of transcription times, candidate to base.
        max_size_ratio: bearable ratio of model sizes.
        gain_to_detect: relative gain for which an open question is sized: how many more utterances it takes to show it.
    """

    alpha: float = 0.05
    min_clusters: int = 5
    min_relative_gain: float = 0.0
    suite_margins: Mapping[str, float] = field(default_factory=dict)
    suites_stand_for_traffic: bool = False
    judge_on_llm_gold: bool = False
    max_failure_rise: float = 0.01
    critical_terms: tuple[Words, ...] = ()
    max_latency_ratio: float = 1.5
    max_size_ratio: float = 2.5
    gain_to_detect: float = 0.1

    @property
    def fewest_clusters(self) -> int:
        """Speakers or calls below which no test may decide."""
        return max(self.min_clusters, minimum_clusters(self.alpha))


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
        critical_terms=_each_in_words(validation.critical_terms),
        max_latency_ratio=validation.max_latency_ratio,
        max_size_ratio=validation.max_size_ratio,
        gain_to_detect=policy.min_detectable_gain,
    )


def _each_in_words(terms: Sequence[str]) -> tuple[Words, ...]:
    words = (tuple(BASIC.normalise(term).split()) for term in terms)
    return tuple(dict.fromkeys(term for term in words if term))


@dataclass(frozen=True)
class Finding:
    """One reason: it rejects the candidate, leaves the question open, or speaks for the candidate.

    Attributes:
        text: with the numbers.
        headline: the same for whoever reads one line, to follow "because"; empty for what speaks for the candidate.
    """

    kind: Literal["rejects", "leaves open", "supports"]
    set_name: str
    text: str
    headline: str = ""


def judge_superiority(judged: JudgedSet, result: Superiority | NotTestable, spread: Spread, policy: GatePolicy) -> Iterator[Finding]:
    """Say what the weighted comparison shows; `spread` is that of earlier cycles."""
    further = further_needed(judged, spread, policy.gain_to_detect, policy.alpha)
    if not judged.utterances:
        text = (
            f"There is no {judged.name} yet: no held-out error that a person corrected, and no sampled utterance. "
            f"Nothing is accepted without one. {further}"
        )
        yield Finding("leaves open", judged.name, text, f"there is no {judged.name} yet")
        return
    if isinstance(result, NotTestable):
        text = f"The models cannot be compared on the {judged.name}: {result.reason}. {further}"
        yield Finding("leaves open", judged.name, text, f"the {judged.name} permits no comparison")
        return
    weighted = bool((~judged.is_stratum("errors")).any())
    basis = "weighted over traffic" if weighted else "on the reported errors alone"
    change = f"{basis}, WER changes by {interval_in_points(result.delta)}"
    if result.worse:
        text = f"The candidate is worse: {change}, p = {result.flip_worse.p_value:.4f} for a rise."
        yield Finding("rejects", judged.name, text, "it transcribes worse than the model in production")
        return
    if result.short_of_gain:
        wanted = f"the wanted gain of {percent(policy.min_relative_gain)} of the WER" if policy.min_relative_gain else "zero"
        text = f"The gain is too small: {change}; even the best end of it is short of {wanted}."
        yield Finding("rejects", judged.name, text, "its gain is surely smaller than the gain wanted")
        return
    if result.delta.clusters < policy.fewest_clusters:
        few = f"{result.delta.clusters}, and a verdict needs at least {policy.fewest_clusters}"
        text = f"Too few speakers or calls: {few}; {change}. {further}"
        yield Finding("leaves open", judged.name, text, "too few speakers or calls were judged")
    elif result.better:
        yield Finding("supports", judged.name, f"The candidate is better: {change}, {_sign_flip(result)}.")
    else:
        yield _not_better(judged, result, change, further, policy)


def _not_better(judged: JudgedSet, result: Superiority, change: str, further: str, policy: GatePolicy) -> Finding:
    if result.delta.estimate < 0.0 and result.flip.smallest_p > policy.alpha:
        text = (
            f"Too few differences: the models differ on {result.flip.clusters} speakers or calls, and p <= {policy.alpha:g} takes at least "
            f"{minimum_clusters(policy.alpha)}; {change}. {further}"
        )
        return Finding("leaves open", judged.name, text, "the models differ on too few speakers or calls")
    if result.flip.p_value <= policy.alpha and result.delta.high < 0.0:
        return _undone_by_one_more(judged, result, change, further)
    text = f"No significant gain: {change}, {_sign_flip(result)}. {further}"
    return Finding("leaves open", judged.name, text, "its gain is not significant")


def _undone_by_one_more(judged: JudgedSet, result: Superiority, change: str, further: str) -> Finding:
    upper_end = f"the upper end would be {100 * result.cautious_high:+.2f}"
    if result.unseen == "utterance":
        text = (
            f"The sample of unreported traffic is too thin: {change}, but had one more of its utterances come out worse, {upper_end}. "
            f"More sampled utterances, or a higher sampling rate, can settle it. {further}"
        )
        return Finding("leaves open", judged.name, text, "the sample of unreported traffic is too thin")
    text = (
        f"Too few speakers or calls for how much they differ: {change}, but had one more come out worse, by as much as the usual one "
        f"changes, {upper_end}. {further}"
    )
    return Finding("leaves open", judged.name, text, "too few speakers or calls were judged for how much they differ")


def _sign_flip(result: Superiority) -> str:
    return f"sign-flip p = {result.flip.p_value:.4f} over {result.delta.clusters} speakers or calls"


def judge_suite(
    name: str, judged: JudgedSet | None, result: NonInferiority | NotTestable | None, further: str, policy: GatePolicy
) -> Finding:
    """Say whether a named suite stays good; `further` tells what it takes where that stays open."""
    title = name.removeprefix(keys.SUITE_SET)
    if judged is None or result is None:
        text = f"Suite {title}, which the policy names, was not evaluated. {further}"
        return Finding("leaves open", name, text, f"suite {title} was not evaluated")
    if isinstance(result, NotTestable):
        return Finding("leaves open", name, f"Suite {title} permits no test: {result.reason}. {further}", f"suite {title} permits no test")
    change = f"WER changes by {interval_in_points(result.delta)}"
    margin = f"the margin of {100 * policy.suite_margins[name]:.2f} points"
    if result.worse:
        text = f"Suite {title} gets worse: {change}; even the lower end exceeds {margin}."
        return Finding("rejects", name, text, f"suite {title} gets worse by more than its margin")
    if result.non_inferior:
        return Finding("supports", name, f"Suite {title} stays good: {change}; the upper end is within {margin}.")
    text = f"Suite {title} is not shown to stay good: {change}; the upper end exceeds {margin}. {further}"
    return Finding("leaves open", name, text.strip(), f"suite {title} is not shown to stay good")


def judge_evidence(judged: JudgedSet, policy: GatePolicy) -> Iterator[Finding]:
    """Say whether the set itself may judge: complete enough, and on references that people gave.

    In the sample of traffic that nobody reported, what production transcribed may stand for a reference: its errors there count against the
    candidate, which is conservative. Anywhere else that would make the model in production its own judge.
    """
    if judged.set_aside_share > MAX_SET_ASIDE_SHARE:
        most = percent(MAX_SET_ASIDE_SHARE)
        text = (
            f"{percent(judged.set_aside_share)} of {judged.name} could not be judged; at most {most} may be missing. Mend at least "
            f"{_to_mend(judged, MAX_SET_ASIDE_SHARE)} of these {sum(judged.set_aside.values())} utterances: the report says what "
            "they lack."
        )
        yield Finding("leaves open", judged.name, text, f"too much of {judged.name} could not be judged")
    llm = int(judged.is_reference_of("llm").sum())
    if llm and not policy.judge_on_llm_gold:
        text = (
            f"{llm} references of {judged.name} were written by a language model, and the policy lets only people's references judge. It "
            f"takes a person's correction of these {llm} utterances."
        )
        yield Finding("leaves open", judged.name, text, f"a language model wrote references of {judged.name}")
    champion = int((judged.is_reference_of("champion") & ~judged.is_stratum("traffic")).sum())
    if champion:
        text = (
            f"{champion} references of {judged.name} are the production model's own transcripts outside the sample of unreported traffic. "
            f"It takes a person's correction of these {champion} utterances."
        )
        yield Finding("leaves open", judged.name, text, f"the model in production is its own judge in {judged.name}")


def _to_mend(judged: JudgedSet, bearable: float) -> int:
    """Return how many of the utterances that were set aside must be judged for the others to be few enough."""
    aside = sum(judged.set_aside.values())
    return aside - floor(bearable * (judged.utterances + aside))
