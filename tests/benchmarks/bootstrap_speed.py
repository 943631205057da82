"""What 10,000 draws of the paired bootstrap cost: ours, the naive way, and the methods of established tools, in turns on the same data.

Naive: jiwer once per draw and model, on the drawn texts. Kaldi: the loop of compute-wer-bootci, written plainly in Python (in C++ it is
faster by a constant). scipy.stats.bootstrap draws indices in batches and is asked for the difference alone, which is less than the others
give. The naive way and the loop are measured on few draws and multiplied. Ours is measured from the texts, too: it aligns once.
Run as `python -m tests.benchmarks.bootstrap_speed`.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import jiwer
import numpy as np
from scipy.stats import bootstrap

from shared.testing.paired import utterance_totals
from shared.testing.two_models import Traffic, simulate
from shared.wer import count_word_errors_batch
from shared.wer_classic import paired_bootstrap
from shared.wer_stats import PairedUtterance, cluster_totals

ROUNDS = 5
DRAWS = 10_000
UTTERANCES, SPEAKERS = 1000, 100
LARGE = 100_000
MEASURED_DRAWS = {"naive_jiwer": 20, "kaldi_loop": 50}
WORDS = [f"word{number}" for number in range(2000)]


def heard(reference: list[str], errors: int, rng: random.Random) -> str:
    """Return the reference with so many of its words replaced by ones that it lacks."""
    wrong = set(rng.sample(range(len(reference)), errors))
    return " ".join("mumble" if position in wrong else word for position, word in enumerate(reference))


def naive_jiwer(texts: list[tuple[str, str, str]], draws: int, rng: random.Random) -> int:
    """Count the draws in which the candidate is better, by jiwer's WER of the drawn texts."""
    better = 0
    for _ in range(draws):
        drawn = rng.choices(texts, k=len(texts))
        references = [reference for reference, _, _ in drawn]
        better += jiwer.wer(references, [text for _, _, text in drawn]) < jiwer.wer(references, [text for _, text, _ in drawn])
    return better


def kaldi_loop(counts: list[tuple[int, int, int]], draws: int, rng: random.Random) -> tuple[float, float]:
    """Return the mean WER of the base over the draws and the share of them in which the candidate makes fewer errors."""
    improved, rates = 0, 0.0
    for _ in range(draws):
        words = base = difference = 0
        for _ in range(len(counts)):
            each, base_errors, candidate_errors = counts[rng.randrange(len(counts))]
            words, base, difference = words + each, base + base_errors, difference + base_errors - candidate_errors
        rates += base / words
        improved += difference > 0
    return rates / draws, improved / draws


def scipy_bootstrap(table: tuple[np.ndarray, ...]) -> object:
    """Return scipy's percentile interval of the difference."""
    return bootstrap(
        table,
        lambda words, base, candidate, axis: (candidate.sum(axis) - base.sum(axis)) / words.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=DRAWS,
        batch=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    )


def ours_from_texts(texts: list[tuple[str, str, str]]) -> object:
    """Align once, then draw."""
    references = [reference for reference, _, _ in texts]
    base = count_word_errors_batch(references, [text for _, text, _ in texts])
    candidate = count_word_errors_batch(references, [text for _, _, text in texts])
    rows = [
        PairedUtterance(str(number), "", "traffic", 1.0, old.reference_words, old.errors, new.errors)
        for number, (old, new) in enumerate(zip(base, candidate, strict=True))
    ]
    return paired_bootstrap(utterance_totals(rows), seed=0, draws=DRAWS)


def timed(work: Callable[[], object], times: float) -> dict[str, float]:
    """Return how long one call takes, by the clock and in processor time, multiplied."""
    clock, processor = perf_counter(), process_time()
    work()
    return {"wall": (perf_counter() - clock) * times, "processor": (process_time() - processor) * times}


def ways() -> dict[str, Callable[[], object]]:
    """Return what is timed, all on the same utterances but for the large set."""
    rng, words = np.random.default_rng(0), random.Random(0)
    traffic = Traffic(SPEAKERS, UTTERANCES // SPEAKERS, redrawn=0.1, report_rate=0.0, sample_rate=1.0, fixed=0.2, interaction=0.1)
    rows = simulate(traffic, rng)
    said = [words.choices(WORDS, k=row.words) for row in rows]
    texts = [
        (" ".join(each), heard(each, row.base_errors, words), heard(each, row.candidate_errors, words))
        for each, row in zip(said, rows, strict=True)
    ]
    counts = [(row.words, row.base_errors, row.candidate_errors) for row in rows]
    table = tuple(np.array(column) for column in zip(*counts, strict=True))
    large = [replace(rows[number % len(rows)], weight=float(1 + number % 10)) for number in range(LARGE)]
    return {
        "ours": lambda: paired_bootstrap(utterance_totals(rows), seed=0, draws=DRAWS),
        "ours_speakers": lambda: paired_bootstrap(cluster_totals(rows), seed=0, draws=DRAWS),
        "ours_from_texts": lambda: ours_from_texts(texts),
        f"ours_{LARGE}_weighted": lambda: paired_bootstrap(utterance_totals(large), seed=0, draws=DRAWS),
        "scipy_bootstrap": lambda: scipy_bootstrap(table),
        "naive_jiwer": lambda: naive_jiwer(texts, MEASURED_DRAWS["naive_jiwer"], random.Random(0)),
        "kaldi_loop": lambda: kaldi_loop(counts, MEASURED_DRAWS["kaldi_loop"], random.Random(0)),
    }


def main() -> None:
    """Print and store the medians."""
    each_way = ways()
    each_way["ours"](), each_way["scipy_bootstrap"]()  # imports and first calls are not counted
    scale = {name: DRAWS / MEASURED_DRAWS[name] if name in MEASURED_DRAWS else 1.0 for name in each_way}
    rounds = [{name: timed(work, scale[name]) for name, work in each_way.items()} for _ in range(ROUNDS)]
    medians = {name: {clock: median(times[name][clock] for times in rounds) for clock in ("wall", "processor")} for name in each_way}
    for name, taken in medians.items():
        note = f" (extrapolated from {MEASURED_DRAWS[name]} draws)" if name in MEASURED_DRAWS else ""
        print(f"{name}: {taken['wall']:.3f} s, {taken['processor']:.3f} s of processor time{note}")
    pairs = (("naive_jiwer", "ours_from_texts"), ("kaldi_loop", "ours"), ("scipy_bootstrap", "ours"))
    ratios = {
        f"{slow}_over_{fast}": median(times[slow]["processor"] / times[fast]["processor"] for times in rounds) for slow, fast in pairs
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.1f} x in processor time")
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    document = {
        "rounds": ROUNDS,
        "unit": "s",
        "draws": DRAWS,
        "utterances": UTTERANCES,
        "speakers": SPEAKERS,
        "extrapolated_from_draws": MEASURED_DRAWS,
        "median": medians,
        "ratio": ratios,
        "each": rounds,
    }
    (folder / "bootstrap_speed.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
