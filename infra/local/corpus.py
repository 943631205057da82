"""Who calls and what they say: an office that a baseline knows, and a call centre that it does not.

The office records over a good line. Then the calls move to the telephone and new products come: the same words through a line's
band, noise and echo, with names that the baseline never heard. That shift is what the demo learns from its errors.
"""

import argparse
import json
import sys
import time
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from infra.local.baseline import DEMO_MARK
from infra.local.speech import Voice, synthesiser, variants, voices, write_wav
from infra.local.telephone import Line, through_telephone
from trainer.augment.acoustics import Audio, add_noise, set_level, white_noise

# Timbres that only the baseline's training hears; no caller has one of them.
TRAINING_VARIANTS = (
    "Andy", "Gene", "Michael", "anika", "antonio", "david", "edward", "f1", "f4",
    "ian", "klatt2", "klatt3", "linda", "m1", "m3", "m7", "steph",
)  # fmt: skip

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SLOTS: dict[str, tuple[str, ...]] = {
    "name": ("anna", "david", "maria", "peter", "sarah", "thomas"),
    "digit": DIGITS,
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "today", "tomorrow"),
    "item": ("account", "card", "invoice", "order", "payment", "delivery", "ticket", "address", "password", "meeting"),
    "verb": ("check", "change", "cancel", "send", "open", "close", "pay", "find"),
    "quality": ("new", "last", "second", "wrong"),
    "state": ("late", "ready", "blocked", "lost", "paid", "not here"),
    "product": ("velora", "nimbus", "paylink", "router", "upgrade"),
}
OFFICE_TEMPLATES = (
    "please {verb} my {item} {digit} {digit} {day}",
    "the {quality} {item} for {name} is {state}",
    "can you {verb} the {item} before {day}",
    "i need a {quality} {item} {day} at {digit}",
    "{name} will {verb} the {item} {day}",
    "my {item} number {digit} {digit} is {state}",
    "{name} was on {digit} {digit} and i want to {verb} it",
    "when is the {quality} {item} from {name}",
    "your {item} with {name} was {state} {day}",
    "call me about {item} {digit} {digit} {digit}",
    "we need help by {day} to {verb} this {item}",
    "what will you {verb} {day} with {item} {digit}",
)
CALL_CENTRE_TEMPLATES = (
    "my {product} {item} is {state} {day}",
    "can you {verb} the {product} {item}",
    "{name} will {verb} the {product} {item}",
    "i need help with {product} {item} {digit} {digit}",
    "please {verb} my {product} {item} {day}",
    "when is the {quality} {product} from {name}",
    "{product} {item} {digit} {digit} for {name}",
)
PRODUCT_SHARE = 0.5  # of the call centre's calls; the rest talk about what the office talks about


class Domain(StrEnum):
    """Where a clip was recorded."""

    CLEAN = "clean"
    CALL_CENTRE = "call_centre"


@dataclass(frozen=True)
class Caller:
    """A person: a voice with a way of speaking."""

    voice: Voice
    speed_wpm: int
    pitch: int

    @property
    def speaker_id(self) -> str:
        """The voice's stable id."""
        return self.voice.speaker_id


@dataclass(frozen=True)
class Utterance:
    """One clip with what was said: `audio` is (samples,) float32 at 16 kHz."""

    text: str
    audio: Audio
    caller: Caller
    domain: Domain


def _words() -> tuple[str, ...]:
    slots = " ".join(word for name, words in SLOTS.items() if name != "product" for word in words)
    fixed = " ".join(word for template in OFFICE_TEMPLATES for word in template.split() if "{" not in word)
    return tuple(sorted(set(f"{slots} {fixed}".split())))


OFFICE_WORDS = _words()


def as_caller(voice: Voice) -> Caller:
    """Return the person behind a voice: speed and pitch follow from the speaker's id, so that they are the same in each run."""
    trait = zlib.crc32(voice.speaker_id.encode())
    return Caller(voice, speed_wpm=145 + trait % 31, pitch=40 + trait // 31 % 21)


def training_callers() -> list[Caller]:
    """Return the people whom the baseline learns from, two for each timbre."""
    return [as_caller(voice) for voice in voices(TRAINING_VARIANTS)]


def callers(count: int | None = None) -> list[Caller]:
    """Return people whom the baseline never heard: none of their timbres is in its training.

    Args:
        count: how many, spread evenly over the timbres while those last, then some timbres in a second accent; None for one a timbre.

    Raises:
        ValueError: there are fewer.
    """
    timbres = [name for name in variants() if name not in TRAINING_VARIANTS]
    everyone = [as_caller(voice) for voice in voices(timbres)]
    if count is None:
        return everyone[: len(timbres)]
    if not 0 < count <= len(everyone):
        raise ValueError(f"callers: expected a count from 1 to {len(everyone)}, found {count}")
    return everyone[:count] if count > len(timbres) else [everyone[index * len(timbres) // count] for index in range(count)]


def make_text(rng: np.random.Generator, domain: Domain) -> str:
    """Return a sentence as heard in `domain`: lower case, no punctuation."""
    about_product = domain is Domain.CALL_CENTRE and rng.random() < PRODUCT_SHARE
    templates = CALL_CENTRE_TEMPLATES if about_product else OFFICE_TEMPLATES
    return " ".join(str(rng.choice(SLOTS[word[1:-1]])) if word.startswith("{") else word for word in str(rng.choice(templates)).split())


def make_utterance(
    rng: np.random.Generator,
    domain: Domain,
    caller: Caller,
) -> Utterance:
    """Let `caller` say something in `domain`.

    Args:
        rng: draws the text, the speed and the disturbance.
        domain: the office's good line or the call centre's telephone.
        caller: who speaks.
    """
    said = make_text(rng, domain)
    speed_wpm = caller.speed_wpm + int(rng.integers(-8, 9))
    speech = set_level(synthesiser().speak(said, caller.voice, speed_wpm, caller.pitch))
    if domain is Domain.CLEAN:
        audio = set_level(add_noise(speech, white_noise(rng, speech.size), rng.uniform(25.0, 45.0)))
    else:
        audio = through_telephone(speech, rng, Line())
    return Utterance(said, audio, caller, domain)


def write_corpus(out: Path, *, clean: int, noisy: int, callers_count: int, seed: int) -> None:
    """Write `out`/clean/*.wav, `out`/noisy/*.wav and `out`/transcripts.jsonl; one random stream a clip, so counts do not matter."""
    people = callers(callers_count)
    conditions = [(Domain.CLEAN, "clean", clean), (Domain.CALL_CENTRE, "noisy", noisy)]
    started, done, total, terminal = time.monotonic(), 0, clean + noisy, sys.stdout.isatty()
    out.mkdir(parents=True, exist_ok=True)
    (out / DEMO_MARK).write_text(json.dumps({"clean": clean, "noisy": noisy, "callers": callers_count, "seed": seed}), encoding="utf-8")
    with (out / "transcripts.jsonl").open("w", encoding="utf-8") as transcripts:
        for domain, condition, count in conditions:
            for index in range(count):
                rng = np.random.default_rng([seed, zlib.crc32(condition.encode()), index])
                utterance = make_utterance(rng, domain, people[int(rng.integers(len(people)))])
                file = f"{condition}/{index:05d}.wav"
                write_wav(out / file, utterance.audio)
                row = {"file": file, "text": utterance.text, "speaker_id": utterance.caller.speaker_id, "condition": condition}
                transcripts.write(json.dumps(row) + "\n")
                done += 1
                if terminal:
                    print(f"\r{done}/{total} clips", end="", flush=True)
    print(("\r" if terminal else "") + f"clips in {out}: {total}, made in {time.monotonic() - started:.1f} s")


def main() -> None:
    """Write a folder of clips with their transcripts."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.speech", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--clean", type=int, default=100, help="clips of the office")
    parser.add_argument("--noisy", type=int, default=100, help="clips of the call centre")
    parser.add_argument("--callers", type=int, default=60, help="people who speak")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_corpus(arguments.out, clean=arguments.clean, noisy=arguments.noisy, callers_count=arguments.callers, seed=arguments.seed)
