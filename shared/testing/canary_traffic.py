"""Simulated traffic of two versions, beside each other or one after the other, with errors that come in bursts of one session."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.sequential import Counts, Pair

WARM_UP_MIN = 60.0
DAY_MIN = 1440.0
UTTERANCES_A_MINUTE = 3.0
"""Of one session."""


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
    wave = 1.0 + traffic.drift * np.sin(2.0 * np.pi * (start / DAY_MIN + rng.random()))
    mean = traffic.error_rate * np.where(on_canary, traffic.worse, 1.0) * wave
    of, minute, wrong = spoken(start, length, mean, traffic.correlation, rng)
    inside = (minute >= 0) & (minute < traffic.minutes)
    columns = [
        np.bincount(minute[inside & version & kind], minlength=traffic.minutes)
        for version in (on_canary[of], ~on_canary[of])
        for kind in (wrong, np.ones_like(wrong))
    ]
    rows: NDArray[np.int64] = np.stack(columns, axis=1)
    return [Pair(Counts(int(a), int(b)), Counts(int(c), int(d))) for a, b, c, d in rows]


@dataclass(frozen=True)
class GuardTraffic:
    """What one version serves until it is replaced, and the next one after it; minute 0 is the promotion.

    Attributes:
        before_min, minutes: how long the old version served, and how long the new one does.
        utterances_per_minute: mean over a day.
        error_rate: mean of the old version over a day.
        worse: error rate of the new version over that of the old one at the same time of day.
        session_utterances, correlation: as in `CanaryTraffic`.
        drift, rush: amplitudes of the daily waves of error rate and traffic, relative to their means; each has a time of day of its own.
    """

    before_min: int = 1440
    minutes: int = 1440
    utterances_per_minute: float = 100.0
    error_rate: float = 0.1
    worse: float = 1.0
    session_utterances: float = 10.0
    correlation: float = 0.1
    drift: float = 0.3
    rush: float = 0.5


def simulate_takeover(traffic: GuardTraffic, rng: np.random.Generator) -> tuple[Counts, NDArray[np.int64]]:
    """Return what the old version showed, and the new one's errors and utterances: (minutes, 2)."""
    first = -traffic.before_min - WARM_UP_MIN
    busiest = traffic.utterances_per_minute * (1.0 + traffic.rush) / traffic.session_utterances
    start = rng.uniform(first, traffic.minutes, rng.poisson(busiest * (traffic.minutes - first)))
    rush, wave = (1.0 + size * np.sin(2.0 * np.pi * (start / DAY_MIN + rng.random())) for size in (traffic.rush, traffic.drift))
    begun = rng.random(len(start)) * (1.0 + traffic.rush) < rush
    start, wave = start[begun], wave[begun]
    length = rng.geometric(1.0 / traffic.session_utterances, len(start))
    mean = traffic.error_rate * np.where(start >= 0, traffic.worse, 1.0) * wave
    _, minute, wrong = spoken(start, length, mean, traffic.correlation, rng)
    old = (minute >= -traffic.before_min) & (minute < 0)
    new = (minute >= 0) & (minute < traffic.minutes)
    columns = [np.bincount(minute[kind], minlength=traffic.minutes) for kind in (new & wrong, new)]
    return Counts(int(wrong[old].sum()), int(old.sum())), np.stack(columns, axis=1)


def spoken(
    start: NDArray[np.float64], length: NDArray[np.int64], mean: NDArray[np.float64], correlation: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the utterances of sessions: (utterances,) the session, the minute, and whether it is an error.

    Args:
        start: (sessions,) minutes.
        length: (sessions,) utterances, three a minute.
        mean: (sessions,) expected error rates; each session draws its own around it.
        correlation: intraclass correlation of the errors of one session.
        rng: draws.
    """
    rate = np.minimum(mean, 0.99)
    if correlation:
        weight = (1.0 - correlation) / correlation
        rate = rng.beta(rate * weight, (1.0 - rate) * weight)
    of = np.repeat(np.arange(len(start)), length)
    number = np.arange(len(of)) - np.repeat(np.cumsum(length) - length, length)
    minute = np.floor(start[of] + number / UTTERANCES_A_MINUTE).astype(np.int64)
    return of, minute, rng.random(len(of)) < rate[of]
