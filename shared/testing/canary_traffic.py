"""Simulated traffic of a canary and a stable version, with errors that come in bursts of one session."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.sequential import Counts, Pair

WARM_UP_MIN = 60.0


@dataclass(frozen=True)
class CanaryTraffic:
    """What the two versions serve, minute by minute.

    Attributes:
        minutes: how long.
        utterances_per_minute: of both versions together.
        share: of the sessions that the canary serves.
        error_rate: mean of the stable version.
        worse: error rate of the canary over that of the stable version.
        session_utterances: mean number of utterances of a session (geometric), three a minute.
        correlation: intraclass correlation of the errors of one session: its error rate is drawn from a Beta distribution.
        drift: amplitude of a daily wave of the error rate, of both versions alike, relative to it.
    """

    minutes: int = 720
    utterances_per_minute: float = 100.0
    share: float = 0.1
    error_rate: float = 0.1
    worse: float = 1.0
    session_utterances: float = 10.0
    correlation: float = 0.1
    drift: float = 0.3


def simulate(traffic: CanaryTraffic, rng: np.random.Generator) -> list[Pair]:
    """Return the counts of each minute; sessions that began earlier are under way when it starts."""
    span = traffic.minutes + WARM_UP_MIN
    sessions = rng.poisson(traffic.utterances_per_minute * span / traffic.session_utterances)
    start = rng.uniform(-WARM_UP_MIN, traffic.minutes, sessions)
    length = rng.geometric(1.0 / traffic.session_utterances, sessions)
    on_canary = rng.random(sessions) < traffic.share
    wave = 1.0 + traffic.drift * np.sin(2.0 * np.pi * (start / 1440.0 + rng.random()))
    mean = np.minimum(traffic.error_rate * np.where(on_canary, traffic.worse, 1.0) * wave, 0.99)
    if traffic.correlation:
        weight = (1.0 - traffic.correlation) / traffic.correlation
        mean = rng.beta(mean * weight, (1.0 - mean) * weight)
    of = np.repeat(np.arange(sessions), length)
    number = np.arange(len(of)) - np.repeat(np.cumsum(length) - length, length)
    minute = np.floor(start[of] + number / 3.0).astype(np.int64)
    wrong = rng.random(len(of)) < mean[of]
    inside = (minute >= 0) & (minute < traffic.minutes)
    columns = [
        np.bincount(minute[inside & version & kind], minlength=traffic.minutes)
        for version in (on_canary[of], ~on_canary[of])
        for kind in (wrong, np.ones_like(wrong))
    ]
    rows: NDArray[np.int64] = np.stack(columns, axis=1)
    return [Pair(Counts(int(a), int(b)), Counts(int(c), int(d))) for a, b, c, d in rows]
