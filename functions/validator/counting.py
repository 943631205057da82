"""What is counted in a clip and its two transcripts: word and character errors, and the ways in which speech models fail."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from shared.normalisation import Normaliser
from shared.training import Clip, EvaluationRow
from shared.wer_align import Alignment, Kind, align_words_batch
from shared.wer_classic import error_segments

MODELS = ("base", "candidate")
LOOP_REPEATS = 3
"""A phrase said so often in a row, and more often than in the reference, is a loop."""
LOOP_WORDS = 4
"""Longest phrase, in words, that is looked for."""
INVENTED_RUN = 3
"""So many words in a row that the reference lacks are invented, not misheard."""

_PER_MODEL = (
    ("substitutions", "i4"),
    ("deletions", "i4"),
    ("insertions", "i4"),
    ("char_errors", "i4"),
    ("empty", "?"),
    ("loop", "?"),
    ("invention", "?"),
    ("on_silence", "?"),
)
_COLUMN_KINDS: dict[str, Kind] = {"substitutions": "substitution", "deletions": "deletion", "insertions": "insertion"}
DIMENSIONS = ("error type", "language", "device", "noise", "duration")
"""What slices are cut by; each has a column of codes, -1 where it is not known."""
ROW = np.dtype(
    [
        ("cluster", "i4"),
        ("stratum", "i1"),
        ("provenance", "i1"),
        ("weight", "f8"),
        ("words", "i4"),
        ("chars", "i4"),
        ("holds_speech", "?"),
        *((f"{model}_{name}", kind) for model in MODELS for name, kind in _PER_MODEL),
        *((dimension, "i4") for dimension in DIMENSIONS),
    ]
)
"""One clip with what both models made of it, 86 bytes; everything that the statistics need, and no text."""
TERM = np.dtype([("row", "i4"), ("term", "i4"), ("said", "i4"), ("base", "i4"), ("candidate", "i4")])
"""How often a clip's reference says a critical term, and how many of these each model heard."""

Table = NDArray[np.void]
Pair = tuple[Clip, EvaluationRow]
Words = tuple[str, ...]


class Counted(NamedTuple):
    """What was counted in a chunk of clips.

    Attributes:
        rows: of dtype `ROW`, shape `(clips,)`, without cluster, stratum, provenance, weight and slices.
        terms: of dtype `TERM`, one for each clip and term that its reference says.
        segments: errors of base and candidate, shape `(segments, 2)`; see `shared.wer_classic.error_segments`.
    """

    rows: Table
    terms: Table
    segments: NDArray[np.int32]


def count_pairs(pairs: Sequence[Pair], normaliser: Normaliser, terms: Sequence[Words]) -> Counted:
    """Count the errors of both models in a chunk of clips.

    Args:
        pairs: clips with what was heard in them.
        normaliser: pure and idempotent; each text is normalised once.
        terms: critical terms, each in normalised words.
    """
    table = np.zeros(len(pairs), dtype=ROW)
    references = [normaliser.normalise(clip.reference) for clip, _ in pairs]
    heard = {
        "base": [normaliser.normalise(row.base_hypothesis) for _, row in pairs],
        "candidate": [normaliser.normalise(row.candidate_hypothesis) for _, row in pairs],
    }
    as_is = replace(normaliser, rule=_unchanged)
    base = align_words_batch(references, heard["base"], as_is)
    changed = [position for position, texts in enumerate(zip(heard["base"], heard["candidate"], strict=True)) if texts[0] != texts[1]]
    anew = align_words_batch([references[position] for position in changed], [heard["candidate"][position] for position in changed], as_is)
    candidate = list(base)
    for position, alignment in zip(changed, anew, strict=True):
        candidate[position] = alignment
    table["words"] = [len(reference.split()) for reference in references]
    table["chars"] = [len(reference) for reference in references]
    table["holds_speech"] = table["words"] > 0
    for model, alignments in (("base", base), ("candidate", candidate)):
        _fill(table, model, references, heard[model], alignments)
    hits = [hit for position, reference in enumerate(references) for hit in _term_hits(position, reference, heard, terms)]
    segments = [segment for pair in zip(base, candidate, strict=True) for segment in error_segments(*pair)]
    return Counted(table, np.array(hits, dtype=TERM), np.array(segments, dtype=np.int32).reshape(-1, 2))


def _unchanged(text: str) -> str:
    return text


def _fill(table: Table, model: str, references: list[str], heard: list[str], alignments: list[Alignment]) -> None:
    kinds = [Counter(step.kind for step in alignment) for alignment in alignments]
    for column, kind in _COLUMN_KINDS.items():
        table[f"{model}_{column}"] = [counted[kind] for counted in kinds]
    table[f"{model}_char_errors"] = [Levenshtein.distance(*texts) for texts in zip(references, heard, strict=True)]
    silent = np.array([not text for text in heard], dtype=bool)
    table[f"{model}_empty"] = table["holds_speech"] & silent
    table[f"{model}_on_silence"] = ~table["holds_speech"] & ~silent
    table[f"{model}_loop"] = [loops(*texts) for texts in zip(references, heard, strict=True)]
    invented = [
        counted["insertion"] >= INVENTED_RUN and longest_insertion(alignment) >= INVENTED_RUN
        for counted, alignment in zip(kinds, alignments, strict=True)
    ]
    table[f"{model}_invention"] = table["holds_speech"] & np.array(invented, dtype=bool)


def word_errors(table: Table, model: str) -> NDArray[np.int64]:
    """Return the word errors of `base` or `candidate` in each row."""
    substitutions, deletions, insertions = (table[f"{model}_{column}"].astype(np.int64) for column in _COLUMN_KINDS)
    return np.asarray(substitutions + deletions + insertions)


def loops(reference: str, heard: str) -> bool:
    """Tell whether a transcript says a phrase over and over that the reference does not."""
    most = most_repeats(heard.split())
    return most >= LOOP_REPEATS and most > most_repeats(reference.split())


def most_repeats(words: Sequence[str]) -> int:
    """Return how often in a row the most repeated phrase of up to `LOOP_WORDS` words is said; 1 where none is said twice.

    A stretch of L words that equal the words `size` before them is a phrase of `size` words said L // size + 1 times.
    """
    most = min(1, len(words))
    if len(set(words)) == len(words):
        return most
    for size in range(1, LOOP_WORDS + 1):
        stretch = 0
        for earlier, later in zip(words, words[size:], strict=False):
            stretch = stretch + 1 if earlier == later else 0
            most = max(most, stretch // size + 1)
    return most


def longest_insertion(alignment: Alignment) -> int:
    """Return the longest run of words that a transcript has and the reference lacks."""
    longest = run = 0
    for step in alignment:
        run = run + 1 if step.kind == "insertion" else 0
        longest = max(longest, run)
    return longest


def _term_hits(position: int, reference: str, heard: dict[str, list[str]], terms: Sequence[Words]) -> Iterable[tuple[int, ...]]:
    words = reference.split()
    for number, term in enumerate(terms):
        said = occurrences(words, term)
        if said:
            yield (position, number, said, *(min(said, occurrences(heard[model][position].split(), term)) for model in MODELS))


def occurrences(words: Sequence[str], term: Words) -> int:
    """Return how often a phrase stands in a text, both in normalised words."""
    if term[0] not in words:
        return 0
    return sum(tuple(words[start : start + len(term)]) == term for start in range(len(words) - len(term) + 1))
