"""The modelled truth: which words of which utterance which version gets wrong. The same whenever, and in whatever order, somebody asks.

Every draw is a hash of (seed, purpose, utterance, word): two policies meet the very same calls, and differ by what they do about them.

    version 0      a word is wrong with its utterance's chance
    version v      decides anew on a share of the words, then mends a share of what is wrong; else it says what its base says
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Codes = NDArray[np.uint64]
Wrong = NDArray[np.bool_]
Floats = NDArray[np.float64]

MOST_WORDS = 63
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve")
RIGHT = tuple(f"{a}{b}{c}" for a in _SYLLABLES for b in _SYLLABLES[:8] for c in _SYLLABLES[:4])
"""What was said."""
MISHEARD = tuple(f"{a}{b}{c}n" for a in _SYLLABLES for b in _SYLLABLES[:8] for c in _SYLLABLES[:4])
"""What is heard instead: no word of `RIGHT`."""


def uniform(key: int, codes: Codes) -> Floats:
    """Return a number in [0, 1) for each code: splitmix64 of the code under a key.

    Source: G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    z = codes + np.uint64((key * _GOLDEN) & _MASK)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / 2.0**53)


@dataclass(frozen=True)
class Modelled:
    """A version as it is modelled.

    Attributes:
        base: what it was trained from; None = the first.
        learned: clips that it and its ancestors have learned.
        level: its WER over that of the first model.
        mended: share of its base's errors that it mends.
    """

    version: int
    base: int | None = None
    learned: int = 0
    level: float = 1.0
    mended: float = 0.0


@dataclass(frozen=True)
class Utterances:
    """What is said, a row for each utterance.

    Attributes:
        words: number of words, 1 to `MOST_WORDS`.
        chance: of the first model to get a word wrong.
        texts: what was said, by row, where a record tells; else the words are made up.
        wrong: how many words the first model got wrong, by row, where a record tells.
    """

    words: Ids
    chance: Floats
    texts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    wrong: Mapping[int, int] = field(default_factory=dict)


class Speech:
    """Utterances, and every version's ear for them.

    Args:
        utterances: what is said.
        redrawn: share of the words that a version decides anew.
        seed: of all draws.
    """

    def __init__(self, utterances: Utterances, redrawn: float, seed: int) -> None:
        self._said = utterances
        self._redrawn = redrawn
        self._seed = seed
        self._models: dict[int, Modelled] = {0: Modelled(0)}

    def add(self, model: Modelled) -> None:
        """Let a version be known."""
        self._models[model.version] = model

    def model(self, version: int) -> Modelled:
        """Return a version as it is modelled."""
        return self._models[version]

    def wrong_words(self, version: int, ids: Ids) -> tuple[Wrong, Ids]:
        """Return which words a version gets wrong, utterance after utterance, and where each utterance starts."""
        lengths = self._said.words[ids]
        starts = np.cumsum(lengths) - lengths
        codes = self._codes(ids, lengths, starts)
        chance = np.repeat(self._said.chance[ids], lengths)
        wrong = self._first(ids, lengths, codes, chance)
        for model in self._lineage(version):
            level = self._models[model.base or 0].level
            anew = self._draw(f"anew {model.version}", codes) < self._redrawn
            wrong = np.where(anew, self._draw(f"drawn {model.version}", codes) < chance * level, wrong)
            wrong &= self._draw(f"mend {model.version}", codes) >= model.mended
        return wrong, starts

    def errors(self, version: int, ids: Ids) -> Ids:
        """Return how many words of each utterance a version gets wrong."""
        if not len(ids):
            return np.zeros(0, dtype=np.int64)
        wrong, starts = self.wrong_words(version, ids)
        return np.asarray(np.add.reduceat(wrong.astype(np.int64), starts))

    def heard(self, version: int, ids: Sequence[int]) -> list[str]:
        """Return a version's hypotheses."""
        rows = np.asarray(ids, dtype=np.int64)
        if not len(rows):
            return []
        wrong, starts = self.wrong_words(version, rows)
        return [
            " ".join(self._word(row, number, misheard=bool(wrong[start + number])) for number in range(int(self._said.words[row])))
            for row, start in zip(rows.tolist(), starts.tolist(), strict=True)
        ]

    def said(self, row: int) -> str:
        """Return what was said in an utterance."""
        return " ".join(self._word(row, number, misheard=False) for number in range(int(self._said.words[row])))

    def _word(self, row: int, number: int, *, misheard: bool) -> str:
        text = self._said.texts.get(row)
        if text is not None and not misheard:
            return text[number]
        code = (row * (MOST_WORDS + 1) + number + self._seed * 7919) * _GOLDEN & _MASK
        names = MISHEARD if misheard else RIGHT
        return names[(code >> 20) % len(names)]

    def _lineage(self, version: int) -> Iterable[Modelled]:
        line = []
        model = self._models[version]
        while model.base is not None:
            line.append(model)
            model = self._models[model.base]
        return reversed(line)

    def _first(self, ids: Ids, lengths: Ids, codes: Codes, chance: Floats) -> Wrong:
        draws = self._draw("first", codes)
        if not self._said.wrong:
            return draws < chance
        counts = [self._said.wrong.get(row, 0) for row in ids.tolist()]
        numbers = np.arange(len(codes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.asarray(numbers < np.repeat(np.asarray(counts, dtype=np.int64), lengths))

    def _codes(self, ids: Ids, lengths: Ids, starts: Ids) -> Codes:
        numbers = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        return np.asarray((np.repeat(ids, lengths) * (MOST_WORDS + 1) + numbers).astype(np.uint64))

    def _draw(self, purpose: str, codes: Codes) -> Floats:
        return uniform(key_of(self._seed, purpose), codes)


def key_of(seed: int, purpose: str) -> int:
    """Return the key of all draws for one purpose: another one for every seed."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "big")
