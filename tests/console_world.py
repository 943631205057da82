"""Worlds that the console shows: several versions, suites and error types, with a canary or a training under way, and hostile texts."""

import io
import random
import wave
from collections.abc import Collection
from datetime import datetime
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np

from functions.dashboard.handler import Console
from functions.push import body_of, quarantine
from shared import keys
from shared.backlog import Backlog
from shared.documents import document_bytes
from shared.policy import CanaryPolicy
from shared.testing import builders
from shared.training import Clip, EpochFigures, RunProgress
from tests.world import POLICY, World

HOSTILE = "<script>alert(1)</script>"
BUDGET = {"usd_per_gpu_hour": 1.5, "max_usd": 100.0}
CANARY = CanaryPolicy(
    percent=10, session_s=0, min_duration_s=600, max_duration_s=7200, min_utterances=50, guard_s=600, on_silence="promote"
)
PHRASES = (
    "please move my appointment to thursday",
    "the router has a red light again",
    "i would like to speak to billing",
    "my number ends in forty two",
    "can you send the invoice by mail",
    "the parcel was left at the wrong door",
)
HEARD = {"thursday": "tuesday", "router": "rooter", "billing": "building", "forty": "fourty", "invoice": "in voice", "parcel": "partial"}
TYPES = ("noise", "accent", "product name", "number")


def wav_bytes(number: int) -> bytes:
    """Return half a second of a tone as a WAV file of 8 kHz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(2 * np.pi * (200 + number) * np.arange(4000) / 8000)).astype("<i2").tobytes())
    return out.getvalue()


def mishear(text: str, share: float, rng: random.Random) -> str:
    return " ".join(HEARD.get(word, word) if rng.random() < share else word for word in text.split())


def console_world(*, cycles: int = 5, ending: str = "training") -> World:
    """Return a world of some cycles; the last one trains (`training`), serves a few sessions (`canary`) or is over (`over`)."""
    rng = random.Random(7)
    numbers = count(1)
    made = World(
        POLICY.model_copy(
            update={
                "canary": CANARY,
                "min_error_cases": 40,
                "min_detectable_gain": 1.0,
                "decline_backoff_s": 0.0,
                "budget": POLICY.budget.model_validate(BUDGET),
            }
        )
    )
    made.install_model()
    for cycle in range(1, cycles + 1):
        _report_errors(made, rng, numbers)
        if not made.trainers.runs:
            made.type("finetune-triggers", '{"force": true, "by": "ana", "reason": "new product names"}')
            made.settle()
        run = next(run for run in made.trainers.runs.values() if run.cycle == cycle)
        trainer = made.trainer(run)
        assert trainer.begin() == ""
        if cycle == cycles and ending == "training":
            _train_on(made, cycle)
            break
        made.clock.advance(1500)
        served = made.production().stable or 0
        assert trainer.finish(partial(_heard, served), partial(_heard, cycle)) == "completed"
        made.trainers.delete(run.name)
        made.settle()
        if cycle == cycles and ending == "canary":
            _serve(made, rng, numbers, 9)
            break
        for _ in range(14):
            made.tick(601)
    body = f'{{"unknown": "{HOSTILE}"}}'.encode()
    quarantine(made.store, function="collector", reason=f"event: expected one, found {HOSTILE}", body=body_of(body), now=made.clock.now())
    return made


@cache
def seen_world(cycles: int = 5, ending: str = "training") -> World:
    """Return a world as `console_world` does, which all tests share that only look at it."""
    return console_world(cycles=cycles, ending=ending)


def _share(version: int) -> float:
    """Return how often a version mishears a word that can be misheard; v3 is a step back."""
    return 0.9 * 0.7**version * (2.5 if version == 3 else 1.0)


def _heard(version: int, clip: Clip) -> str:
    return mishear(clip.reference, _share(version), random.Random(f"{clip.utterance_id} {version}"))


def _report_errors(made: World, rng: random.Random, numbers: "count[int]") -> None:
    now = made.clock.now()
    for position in range(90):
        number = next(numbers)
        said = PHRASES[number % len(PHRASES)]
        made.calls.put(f"u{number}.wav", wav_bytes(number))
        shape: dict[str, Any] = {
            "at": now,
            "hypothesis": mishear(said, 0.8, rng),
            "duration_s": 0.5,
            "device": rng.choice(("phone", "headset")),
        }
        if position < 45:
            made.publish(builders.sample(number, sample_rate=1.0, **{**shape, "hypothesis": said}))
        else:
            kind = rng.choices(TYPES, weights=(4, 3, 2, 1))[0]
            made.publish(builders.error(number, reference=said, error_type=kind, **shape))
    made.publish(builders.traffic(next(numbers), 900, at=now))
    made.settle()


def _train_on(made: World, cycle: int) -> None:
    made.clock.advance(420)
    epochs = tuple(
        EpochFigures(epoch=n, loss=2.4 * 0.8**n + 0.3, dev_errors_wer=0.55 * 0.9**n + 0.1, dev_replay_wer=0.06 + 0.002 * n)
        for n in range(1, 8)
    )
    shown = RunProgress(
        cycle=cycle, attempt=1, at=made.clock.now(), phase="training", done=77, total=120, left_s=312.0, loss=0.712, epochs=epochs
    )
    made.store.put(keys.progress(cycle), document_bytes(shown))
    run = next(run for run in made.trainers.runs.values() if run.cycle == cycle)
    made.trainer(run).beat()
    made.clock.advance(9)
    made.publish(
        *(builders.error(9000 + n, at=made.clock.now(), reference=None if n % 3 else "the parcel", error_type=HOSTILE) for n in range(23))
    )
    made.settle()


def _serve(made: World, rng: random.Random, numbers: "count[int]", minutes: int) -> None:
    canary, stable = made.production().canary, made.production().stable
    assert canary is not None
    assert stable is not None
    for _ in range(minutes):
        made.clock.advance(60)
        now = made.clock.now()
        for version, served, rate in ((canary.version, 40, 0.06), (stable, 300, 0.11)):
            made.publish(builders.traffic(next(numbers), served, version=version, at=now))
            wrong = sum(rng.random() < rate for _ in range(served))
            made.publish(*(builders.error(next(numbers), at=now, model_version=version, reference=None) for _ in range(wrong)))
        made.settle()
        made.publish_tick()
        made.settle()


class Told:
    """Tells of three dead letters in the first subscription that is asked about, and of none in the others."""

    def look(self, subscriptions: Collection[str], now: datetime) -> tuple[Backlog, ...]:
        names = sorted(subscriptions)
        first = Backlog(subscription=names[0], waiting=3, oldest_s=10_800.0, at=now)
        return (first, *(Backlog(subscription=name, waiting=0, oldest_s=None, at=now) for name in names[1:]))


def console(made: World) -> Console:
    """Return the console of a world."""
    return Console(made.ports, made.audio, backlogs=Told())
