"""Which clips teach, which choose and which judge: drawn once, by speaker, so that nobody judges on a voice that was trained on."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import fsum
from typing import Literal, get_args

from trainer.finetune.folder import CONDITIONS, Condition

Part = Literal["train", "dev", "holdout"]
PARTS: tuple[Part, ...] = get_args(Part)
DrawnBy = Literal["speaker", "clip"]
SHARES: Mapping[Part, float] = {"train": 0.5, "dev": 0.15, "holdout": 0.35}
MIN_ERRORS = 6
"""Clips with errors: with fewer there is nothing to learn from and to judge on at once."""
MIN_SPEAKERS = 4
"""With fewer the holdout would have one speaker, and one gives no interval."""

_STRATA = tuple(product(CONDITIONS, (True, False)))


@dataclass(frozen=True)
class JudgedClip:
    """What the split needs to know of a clip; `wrong` = the base model made an error in it."""

    utterance_id: str
    condition: Condition
    speaker: str | None
    wrong: bool


@dataclass(frozen=True)
class Split:
    """Who is in which part.

    Attributes:
        parts: by utterance.
        unit: what was drawn whole, and so what every statistic resamples.
        warnings: what the numbers cannot say.
    """

    parts: Mapping[str, Part]
    unit: DrawnBy
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class NoSplit:
    """There is too little to learn from."""

    outcome: Literal["nothing_to_learn", "too_few_errors"]
    reason: str


@dataclass(frozen=True)
class _Unit:
    name: str
    clips: tuple[JudgedClip, ...]

    def count(self, stratum: tuple[Condition, bool]) -> int:
        return sum((clip.condition, clip.wrong) == stratum for clip in self.clips)


def decide_split(clips: Sequence[JudgedClip], seed: int) -> Split | NoSplit:
    """Divide the clips into train, dev and holdout, about 50 / 15 / 35.

    Whole speakers are drawn; where speakers are unknown or fewer than four, clips are. Each part gets its share of the errors and of the
    clips that were right, of both conditions: train and holdout have errors of each condition where at least two units do. The order of
    `clips` does not matter: the same clips and seed give the same split.
    """
    wrong = sum(clip.wrong for clip in clips)
    if not wrong:
        return NoSplit("nothing_to_learn", f"expected clips with errors to learn from, found none in {len(clips)}: the model got all right")
    if wrong < MIN_ERRORS:
        return NoSplit("too_few_errors", f"expected at least {MIN_ERRORS} clips with errors, found {wrong} of {len(clips)}; add clips")
    speakers = {clip.speaker for clip in clips if clip.speaker is not None}
    unit: DrawnBy = "speaker" if len(speakers) >= MIN_SPEAKERS else "clip"
    units = _units(clips, unit)
    assigned = _assign(units, seed)
    parts = {clip.utterance_id: assigned[each.name] for each in units for clip in each.clips}
    return Split(parts, unit, (*_about_speakers(clips, len(speakers)), *_about_parts(clips, parts)))


def _units(clips: Iterable[JudgedClip], unit: DrawnBy) -> list[_Unit]:
    members: dict[str, list[JudgedClip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.utterance_id):
        by_speaker = unit == "speaker" and clip.speaker is not None
        members.setdefault(f"speaker {clip.speaker}" if by_speaker else f"clip {clip.utterance_id}", []).append(clip)
    return [_Unit(name, tuple(group)) for name, group in members.items()]


def _assign(units: Sequence[_Unit], seed: int) -> dict[str, Part]:
    """Give each unit to the part that lacks most of what it has: who has something rare comes first, then the large, then by lot.

    The lack of a part is the fall of sum (have - wanted)^2 / wanted over the strata. Then units move while a part lacks the errors of a
    condition that another could give.
    """
    counts = {unit.name: tuple(unit.count(stratum) for stratum in _STRATA) for unit in units}
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    holders = [sum(count > 0 for count in column) for column in zip(*counts.values(), strict=True)]
    have = {part: [0] * len(_STRATA) for part in PARTS}

    def cost(part: Part, unit: str) -> float:
        wanted = [SHARES[part] * total for total in totals]
        rows = zip(have[part], wanted, counts[unit], strict=True)
        return fsum((2 * (had - want) + more) * more / want for had, want, more in rows if more)

    def give(unit: str, part: Part, sign: int = 1) -> None:
        have[part] = [had + sign * more for had, more in zip(have[part], counts[unit], strict=True)]

    def rank(unit: str) -> tuple[int, int, str]:
        rarest = min(holders[index] for index, count in enumerate(counts[unit]) if count)
        return rarest, -sum(counts[unit]), hashlib.sha256(f"{seed}/{unit}".encode()).hexdigest()

    assigned: dict[str, Part] = {}
    for unit in sorted(counts, key=rank):
        assigned[unit] = min(PARTS, key=lambda part: cost(part, unit))
        give(unit, assigned[unit])
    while move := _mending_move(assigned, counts, have):
        unit, part = move
        give(unit, assigned[unit], -1)
        give(unit, part)
        assigned[unit] = part
    return assigned


def _mending_move(
    assigned: Mapping[str, Part], counts: Mapping[str, tuple[int, ...]], have: Mapping[Part, Sequence[int]]
) -> tuple[str, Part] | None:
    """Return a move that gives a part the errors of a condition that it lacks; only dev gives its last, and only to the others."""
    errors = [index for index, (_, wrong) in enumerate(_STRATA) if wrong]
    needing: tuple[Part, ...] = ("train", "holdout", "dev")
    for part, index in product(needing, errors):
        if have[part][index]:
            continue
        able = [
            unit
            for unit, owner in sorted(assigned.items())
            if owner != part
            and counts[unit][index]
            and (owner == "dev" or all(have[owner][each] > counts[unit][each] for each in errors if counts[unit][each]))
        ]
        if able:
            return min(able, key=lambda unit: (assigned[unit] != "dev", sum(counts[unit]))), part
    return None


def _about_speakers(clips: Sequence[JudgedClip], speakers: int) -> list[str]:
    nameless = sum(clip.speaker is None for clip in clips)
    if not speakers:
        return ["No speaker is known: clips were drawn, so that a speaker may be both trained and judged on. Give a speaker_id."]
    if speakers == 1 and not nameless:
        return ["There is one speaker only: the numbers say nothing about other speakers."]
    if speakers < MIN_SPEAKERS:
        return [f"There are {speakers} known speakers only: clips were drawn, the numbers say nothing about other speakers."]
    return [f"{nameless} clips without a speaker were drawn one by one: their speakers may be on both sides."] if nameless else []


def _about_parts(clips: Sequence[JudgedClip], parts: Mapping[str, Part]) -> list[str]:
    warnings = []
    for condition in CONDITIONS:
        wrong = [clip for clip in clips if clip.condition == condition and clip.wrong]
        lacking = [part for part in PARTS if not any(parts[clip.utterance_id] == part for clip in wrong)]
        if wrong and lacking:
            warnings.append(f"{' and '.join(lacking)} ha{'s' if len(lacking) == 1 else 've'} no {condition} clip with an error.")
    safe = {parts[clip.utterance_id] for clip in clips if not clip.wrong}
    return warnings + [f"{part} has no clip that the model got right: {_MEANING[part]}." for part in PARTS if part not in safe]


_MEANING: Mapping[Part, str] = {
    "train": "nothing is replayed, what it hears well now is not protected",
    "dev": "nothing tells whether what it hears well now gets worse, when the scale is chosen",
    "holdout": "nothing tells whether what it hears well now got worse",
}
