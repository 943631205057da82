"""The tests that papers report, on the sets that decide, so that a researcher can compare; they decide nothing."""

from collections.abc import Iterator

from functions.validator.judged_set import JudgedSet
from shared.verdict import ClassicTest
from shared.wer_classic import mapsswe, mcnemar_of, paired_bootstrap
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
    utterances = judged.utterance_totals()
    sentences = mcnemar_of(utterances)
    yield ClassicTest(
        name="McNemar",
        set_name=judged.name,
        unit="sentence",
        units=judged.utterances,
        statistic=sentences.chi_squared,
        p_value=sentences.p_value,
    )
    yield _bootstrap(judged, utterances, "utterance", seed)
    yield _bootstrap(judged, judged.word_totals(), "speaker or call", seed)


def _bootstrap(judged: JudgedSet, units: ClusterTotals, unit: str, seed: int) -> ClassicTest:
    result = paired_bootstrap(units, seed=seed, draws=1_000 if len(units.words) > MANY_UNITS else 10_000)
    return ClassicTest(
        name="bootstrap",
        set_name=judged.name,
        unit=unit,
        units=result.delta.clusters,
        delta=result.delta,
        improvement=result.improvement,
    )
