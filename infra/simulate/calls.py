"""The calls that a simulation is made of: made up at a rate, or taken from a record. Which of them is reported depends on who serves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np

from infra.errors import Refused
from infra.simulate.assumptions import Assumptions
from infra.simulate.speech import MOST_WORDS, Floats, Ids, Speech, Utterances, key_of, uniform
from shared.events import Event, SttError, SttSample, SttTraffic
from shared.registry import Production

CALLS = "gs://simulated-calls"
MOST_UTTERANCES = 20_000_000
CALIBRATION = 20_000
SPEAKER_SPREAD, UTTERANCE_SPREAD = 20.0, 3.0
"""Of the Beta distributions of the chance of an error: over speakers, and over a speaker's utterances (`shared.testing.two_models`)."""


@dataclass(frozen=True)
class Serving:
    """Which versions serve, and whom.

    Attributes:
        canary: serves `share` of the speakers beside the stable version; with share 0 it transcribes beside.
    """

    stable: int
    canary: int | None = None
    share: float = 0.0

    @classmethod
    def of(cls, production: Production) -> "Serving":
        """Return what the production alias says."""
        canary = production.canary
        stable = production.stable if production.stable is not None else 0
        return cls(stable, canary.version if canary else None, canary.percent / 100 if canary else 0.0)

    def shares(self) -> list[tuple[int, float]]:
        """Return each version that serves, with its share of the calls."""
        if self.canary is None or not self.share:
            return [(self.stable, 1.0)]
        return [(self.stable, 1.0 - self.share), (self.canary, self.share)]


class Calls(Protocol):
    """A source of reports."""

    speech: Speech

    def reports(self, since: datetime, until: datetime, serving: Serving) -> Iterator[Event]:
        """Yield what production reports of an interval, in which `serving` serves."""
        ...

    def rows(self, utterance_ids: Sequence[str]) -> list[int]:
        """Return the rows of `speech` that utterances have."""
        ...

    def audio_name(self, event: Event) -> str | None:
        """Return the key under which an event's audio lies in `CALLS`; None = it has none."""
        ...


@dataclass(frozen=True)
class Draws:
    """What is known of every call before anybody transcribes it: columns of one table, in the order of time."""

    at_s: Floats
    speaker: Ids
    reported: Floats
    corrected: Floats
    sampled: Floats
    reviewed: Floats


class ModelledCalls:
    """Calls that come at a rate.

    Args:
        start: when the first may come.
        days: for how long they come.
        errors_per_hour: reported errors while the first model serves; a better model leaves fewer.
        assumptions: everything else.
        seed: of all draws.

    Raises:
        Refused: more utterances than can be held.
    """

    def __init__(self, start: datetime, days: float, errors_per_hour: float, assumptions: Assumptions, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._start = start
        self._made = assumptions
        self._seed = seed
        ears = _speakers(assumptions, rng)
        self.utterances_per_hour = errors_per_hour / (_wrong_share(assumptions, ears, rng) * assumptions.report_rate)
        expected = self.utterances_per_hour * 24 * days
        if expected > MOST_UTTERANCES:
            raise Refused(
                f"{errors_per_hour:g} reported errors an hour for {days:g} days: expected at most {MOST_UTTERANCES:,} calls, "
                f"found about {expected:,.0f}; simulate fewer days, or have more of what is wrong reported (--assume report_rate=...)"
            )
        count = int(rng.poisson(expected))
        speaker = rng.integers(0, assumptions.speakers, count)
        self._draws = Draws(
            at_s=np.sort(rng.random(count)) * days * 86_400.0,
            speaker=speaker,
            reported=rng.random(count),
            corrected=rng.random(count),
            sampled=rng.random(count),
            reviewed=rng.random(count),
        )
        self.speech = Speech(_utterances(assumptions, ears[speaker], rng), assumptions.redrawn, seed)

    def reports(self, since: datetime, until: datetime, serving: Serving) -> Iterator[Event]:
        """Yield errors, samples and the traffic of an interval; see `Calls.reports`."""
        first, last = np.searchsorted(self._draws.at_s, [(at - self._start).total_seconds() for at in (since, until)])
        ids = np.arange(first, last)
        if not len(ids):
            return
        versions = self._versions(ids, serving)
        wrong = np.zeros(len(ids), dtype=np.int64)
        for version in np.unique(versions).tolist():
            served = versions == version
            wrong[served] = self.speech.errors(version, ids[served])
            yield traffic_event(version, int(served.sum()), since, until)
        reported = (wrong > 0) & (self._draws.reported[ids] < self._made.report_rate)
        sampled = self._draws.sampled[ids] < self._made.sample_rate
        noted = reported | sampled
        for row, version, error, sample in zip(
            ids[noted].tolist(), versions[noted].tolist(), reported[noted].tolist(), sampled[noted].tolist(), strict=True
        ):
            common = self._common(row, version)
            if error:
                corrected = self._draws.corrected[row] < self._made.corrected_share
                yield SttError(event_id=f"e{row}", reference=self.speech.said(row) if corrected else None, **common)
            if sample:
                reviewed = self.speech.said(row) if self._draws.reviewed[row] < self._made.reviewed_share else None
                shadow = self._shadow(row, serving)
                yield SttSample(event_id=f"p{row}", sample_rate=self._made.sample_rate, reference=reviewed, **common, **shadow)

    def rows(self, utterance_ids: Sequence[str]) -> list[int]:
        """Return the rows of utterances; see `Calls.rows`."""
        return [int(name.removeprefix("u")) for name in utterance_ids]

    def audio_name(self, event: Event) -> str | None:
        """Return where an event's audio lies; see `Calls.audio_name`."""
        return f"{event.utterance_id}.wav" if isinstance(event, SttError | SttSample) else None

    def _versions(self, ids: Ids, serving: Serving) -> Ids:
        if serving.canary is None or not serving.share:
            return np.full(len(ids), serving.stable)
        # a caller is one session here: who is on the canary stays there while it stands
        draws = uniform(key_of(self._seed, f"canary {serving.canary}"), self._draws.speaker[ids].astype(np.uint64))
        return np.where(draws < serving.share, serving.canary, serving.stable)

    def _common(self, row: int, version: int) -> dict[str, Any]:
        return {
            "occurred_at": self._start + timedelta(seconds=float(self._draws.at_s[row])),
            "utterance_id": f"u{row}",
            "audio_uri": f"{CALLS}/u{row}.wav",
            "hypothesis": self.speech.heard(version, [row])[0],
            "model_version": version,
            "speaker_id": f"s{self._draws.speaker[row]}",
            "duration_s": self._made.clip_s,
        }

    def _shadow(self, row: int, serving: Serving) -> dict[str, Any]:
        if serving.canary is None or serving.share:
            return {}
        return {"shadow_version": serving.canary, "shadow_hypothesis": self.speech.heard(serving.canary, [row])[0]}


def traffic_event(version: int, utterances: int, since: datetime, until: datetime, name: str = "t") -> SttTraffic:
    """Return the report that a version has served so many utterances in an interval."""
    return SttTraffic(
        event_id=f"{name}-v{version}-{until.isoformat()}",
        occurred_at=until,
        model_version=version,
        utterances=utterances,
        interval_s=(until - since).total_seconds(),
    )


def _speakers(assumptions: Assumptions, rng: np.random.Generator) -> Floats:
    """Draw the chance of an error for each speaker, with the WER as its mean."""
    drawn = rng.beta(SPEAKER_SPREAD * assumptions.wer, SPEAKER_SPREAD * (1 - assumptions.wer), assumptions.speakers)
    return np.asarray(np.clip(drawn * assumptions.wer / drawn.mean(), 1e-3, 0.95))


def _utterances(assumptions: Assumptions, mean: Floats, rng: np.random.Generator) -> Utterances:
    words = np.minimum(1 + rng.poisson(assumptions.words - 1, len(mean)), MOST_WORDS)
    chance = rng.beta(UTTERANCE_SPREAD * mean, UTTERANCE_SPREAD * (1 - mean))
    return Utterances(words=words.astype(np.int64), chance=chance)


def _wrong_share(assumptions: Assumptions, ears: Floats, rng: np.random.Generator) -> float:
    """Return the share of utterances of which the first model gets at least one word wrong."""
    drawn = _utterances(assumptions, ears[rng.integers(0, len(ears), CALIBRATION)], rng)
    return float(np.mean(1.0 - (1.0 - drawn.chance) ** drawn.words))
