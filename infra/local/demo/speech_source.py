"""Speech of the demo: the operator's trusted clips, the calls, and fresh callers at the end."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from infra.local.corpus import Caller, Domain, Utterance, callers, make_utterance
from infra.local.demo.plan import DemoPlan

SAMPLING_RATE_HZ = 16_000


@dataclass(frozen=True)
class People:
    """Who speaks where: some of those who call also speak the suite; the fresh ones never call before the end."""

    calling: list[Caller]
    suite: list[Caller]
    fresh: list[Caller]


def people(plan: DemoPlan) -> People:
    """Draw the groups from the callers that the baseline never heard."""
    everyone = callers()
    order = np.random.default_rng([plan.seed, 1]).permutation(len(everyone))
    drawn = [everyone[index] for index in order]
    last = plan.callers + plan.fresh_callers
    if len(drawn) < last:
        raise ValueError(f"demo: expected at least {last} callers, found {len(drawn)}")
    return People(drawn[: plan.callers], drawn[: plan.suite_callers], drawn[plan.callers : last])


def utterances(plan: DemoPlan, stream: int, group: list[Caller], phone_share: float) -> Iterator[Utterance]:
    """Yield what a group says, for ever; `stream` separates the random numbers of different purposes."""
    rng = np.random.default_rng([plan.seed, stream])
    while True:
        for index in rng.permutation(len(group)):
            domain = Domain.CALL_CENTRE if rng.random() < phone_share else Domain.CLEAN
            yield make_utterance(rng, domain, group[int(index)])


def wav_bytes(utterance: Utterance) -> bytes:
    """Return the audio as a 16-bit mono WAV file at 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, utterance.audio, SAMPLING_RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def duration_s(utterance: Utterance) -> float:
    """Return the length of the audio in seconds."""
    return float(utterance.audio.size) / SAMPLING_RATE_HZ
