"""What a reader must know before the numbers: limits of the evidence, and the rules where something is not there yet."""

from collections.abc import Iterator

from functions.validator.evidence import Evidence
from functions.validator.rules import GatePolicy


def limits_of(evidence: Evidence, policy: GatePolicy, *, suites_stand: bool) -> Iterator[str]:
    """Name every limit in a sentence.

    Args:
        evidence: what was judged.
        policy: the gate's numbers.
        suites_stand: suites stand for the traffic that nobody reported.
    """
    if suites_stand:
        yield (
            "Suites stand for the traffic that nobody reported, by the policy's leave: how the candidate does on real unreported traffic "
            f"is not measured, and the chance to accept a model that is no better may exceed {policy.alpha:g}."
        )
    yield from _not_there_yet(evidence, policy)
    judged_sets = (evidence.holdout, *evidence.suites)
    total = sum(judged.utterances for judged in judged_sets)
    llm = sum(int(judged.is_reference_of("llm").sum()) for judged in judged_sets)
    if llm:
        yield f"{llm} of {total} references were written by a language model and not by a person."
    champion = sum(int(judged.is_reference_of("champion").sum()) for judged in judged_sets)
    if champion:
        yield (
            f"For {champion} sampled utterances that nobody reported, what production transcribed stands for the reference; where the "
            "candidate corrects an unreported error this counts against it. Slices and gates leave these utterances out."
        )


def _not_there_yet(evidence: Evidence, policy: GatePolicy) -> Iterator[str]:
    if evidence.first:
        yield (
            "The model in production was imported: no evidence of ours made it the measure. Rule: a candidate is judged against it like "
            "against any other. (Where no model is in production nothing is trained or judged: a person imports and promotes the first.)"
        )
    if not evidence.holdout.utterances:
        yield "There is no holdout yet. Rule: nothing is accepted without one; what speaks against the candidate counts all the same."
    if not policy.suite_margins:
        yield "The policy names no regression suite. Rule: the holdout alone decides, and nothing but it speaks against a regression."
