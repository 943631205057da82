"""Simulated production traffic judged by two models, for tests of the gate: a model that is no better, or better by a known share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.wer_stats import Array, PairedUtterance

Counts = NDArray[np.int64]
_ROUNDS = 30
"""Enough for `raised_chance` to come within 0.0001 of what is wanted, mostly much closer."""


@dataclass(frozen=True)
class Traffic:
    """What is simulated.

    Attributes:
        speakers: clusters.
        utterances: utterances each speaker says.
        wer: word error rate of the model in production, which varies by speaker and utterance around this mean.
        redrawn: share of the words on which the candidate decides anew, with the same chance to fail: it differs, and is no better.
        report_rate: share of the wrongly transcribed utterances that are reported.
        sample_rate: share of the unreported utterances that are sampled.
        fixed: share of the remaining errors that the candidate corrects; 0 makes the models equal.
        interaction: spread (log scale) by which the candidate suits one speaker better and another worse, at the same mean: so many times
            the errors come of that speaker, all utterances taken together.
    """

    speakers: int
    utterances: int
    redrawn: float
    report_rate: float
    sample_rate: float
    wer: float = 0.146
    fixed: float = 0.0
    interaction: float = 0.0


def simulate(traffic: Traffic, rng: np.random.Generator) -> list[PairedUtterance]:
    """Return the holdout that such traffic leaves behind: reported errors at weight 1 and the sample at weight 1 / sample_rate."""
    shape = (traffic.speakers, traffic.utterances)
    per_speaker = np.clip(rng.beta(20 * traffic.wer, 20 * (1 - traffic.wer), size=(traffic.speakers, 1)), 1e-3, 1 - 1e-3)
    chance = np.clip(rng.beta(3 * per_speaker, 3 * (1 - per_speaker), size=shape), 1e-6, 1 - 1e-6)
    suits = np.exp(rng.normal(-(traffic.interaction**2) / 2, traffic.interaction, size=(traffic.speakers, 1)))
    words = 1 + rng.poisson(8, size=shape)
    base = rng.binomial(words, chance)
    anew = rng.binomial(words, traffic.redrawn)
    kept = base - rng.hypergeometric(base, words - base, anew)
    alike = kept - rng.binomial(kept, traffic.fixed) + rng.binomial(anew, chance)
    spoilt = rng.binomial(words - alike, np.maximum((raised_chance(chance, words, suits) - chance) / (1 - chance), 0.0))
    candidate = rng.binomial(alike, np.minimum(1.0, suits)) + spoilt
    reported = (base > 0) & (rng.random(shape) < traffic.report_rate)
    sampled = ~reported & (rng.random(shape) < traffic.sample_rate)
    return [
        PairedUtterance(
            utterance_id=f"{speaker}-{number}",
            cluster=f"speaker-{speaker}",
            stratum="errors" if reported[speaker, number] else "traffic",
            weight=1.0 if reported[speaker, number] else 1.0 / traffic.sample_rate,
            words=int(words[speaker, number]),
            base_errors=int(base[speaker, number]),
            candidate_errors=int(candidate[speaker, number]),
        )
        for speaker, number in np.argwhere(reported | sampled).tolist()
    ]


def raised_chance(chance: Array, words: Counts, suits: Array) -> Array:
    """Return the chance of an error, `(speakers, utterances)`, where a speaker's expected errors are `suits` times as many.

    No chance exceeds 1: what an utterance that fails anyway cannot take falls on the speaker's other utterances. Were it dropped, the mean
    candidate would be better than the model that it is to equal (0.6% of the errors at a spread of 0.2).
    """
    wanted = suits * np.sum(words * chance, axis=1, keepdims=True)
    factor = suits
    for _ in range(_ROUNDS):
        factor = factor * wanted / np.sum(words * np.minimum(1.0, factor * chance), axis=1, keepdims=True)
    return np.minimum(1.0, factor * chance)
