"""The tests that papers report, on the sets that decide, so that a researcher can compare; they decide nothing."""

from collections.abc import Iterator

from functions.validator.judged_set import JudgedSet
from shared.verdict import ClassicTest
from shared.wer_classic import Bootstrap, bootstrap_of_totals, mapsswe, mcnemar
from shared.wer_stats import ClusterTotals

MANY_UNITS = 5000
"""Above so many units a thousand draws say as much as ten thousand below."""


def classic_tests(judged: JudgedSet, seed: int) -> Iterator[ClassicTest]:
    """Return MAPSSWE, McNemar, and the Bisani-Ney bootstrap over utterances and over speakers or calls; nothing without reference words."""
    if not judged.rows["words"].any():
        return
    segments = mapsswe((base, candidate) for base, candidate in judged.segments.tolist())
    yield ClassicTest(
        name="MAPSSWE", set_name=judged.name, unit="segment", units=segments.segments, statistic=segments.w, p_value=segments.p_value
    )
    base_right, candidate_right = judged.errors("base") == 0, judged.errors("candidate") == 0
    sentences = mcnemar(int((base_right & ~candidate_right).sum()), int((candidate_right & ~base_right).sum()))
    yield ClassicTest(
        name="McNemar",
        set_name=judged.name,
        unit="sentence",
        units=judged.utterances,
        statistic=sentences.chi_squared,
        p_value=sentences.p_value,
    )
    weight = judged.rows["weight"]
    utterances = ClusterTotals(
        words=weight * judged.rows["words"],
        base_errors=weight * judged.errors("base"),
        candidate_errors=weight * judged.errors("candidate"),
    )
    yield _bootstrap(judged, bootstrap_of_totals(utterances, "utterance", seed=seed, draws=_draws(utterances)), "utterance")
    clusters = judged.word_totals()
    yield _bootstrap(judged, bootstrap_of_totals(clusters, "cluster", seed=seed, draws=_draws(clusters)), "speaker or call")


def _draws(totals: ClusterTotals) -> int:
    return 1_000 if len(totals.words) > MANY_UNITS else 10_000


def _bootstrap(judged: JudgedSet, result: Bootstrap, unit: str) -> ClassicTest:
    return ClassicTest(
        name="bootstrap",
        set_name=judged.name,
        unit=unit,
        units=result.delta.clusters,
        delta=result.delta,
        improvement=result.improvement,
    )
