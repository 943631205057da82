"""From logits to text: greedy CTC, argmax and collapse on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from shared.normalisation import normalise, unspeakable


class Unspellable(ValueError):
    """A transcript has characters that the vocabulary cannot spell."""


@dataclass(frozen=True)
class Vocabulary:
    """What each output of a CTC head stands for.

    Attributes:
        tokens: output index to token, one for every output of the head; an output that the tokenizer does not know is
            its unknown token.
        blank: index of the CTC blank (the tokenizer's pad token).
        delimiter: the token between words.
        lower_case: the tokenizer lower-cases what it decodes.
    """

    tokens: tuple[str, ...]
    blank: int
    delimiter: str = "|"
    lower_case: bool = False

    @cached_property
    def letters(self) -> frozenset[str]:
        """The tokens that spell one character."""
        return frozenset(token for token in self.tokens if len(token) == 1 and token != self.delimiter)

    @cached_property
    def delimiter_id(self) -> int:
        """Output index of the delimiter."""
        return self.tokens.index(self.delimiter)

    @cached_property
    def _label_ids(self) -> dict[str, int]:
        """Normalised character to output index, whatever the case of the vocabulary is."""
        ids: dict[str, int] = {}
        for index, token in enumerate(self.tokens):
            if token in self.letters:
                ids.setdefault(token.casefold(), index)
        return ids | {" ": self.delimiter_id}

    @cached_property
    def first_ids(self) -> npt.NDArray[np.int64]:
        """Output index to the first index of the same token: unknown outputs must collapse as one token."""
        return np.array([self.tokens.index(token) for token in self.tokens], dtype=np.int64)

    @cached_property
    def pieces(self) -> npt.NDArray[np.object_]:
        """Output index to the text it adds to a transcript."""
        return np.array([" " if token == self.delimiter else token for token in self.tokens], dtype=object)

    def encode(self, reference: str) -> list[int]:
        """Return the labels of a transcript, normalised here; never an unknown token.

        Raises:
            Unspellable: it holds characters outside the vocabulary, which a tokenizer would turn into `<unk>` in silence.
        """
        foreign = unspeakable(reference, self.letters)
        text = normalise(reference)
        foreign |= set(text) - self._label_ids.keys()
        if foreign:
            raise Unspellable(f"expected only characters of the vocabulary, found {''.join(sorted(foreign))!r}")
        return [self._label_ids[char] for char in text]

    def join(self, ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> list[str]:
        """Return the transcripts spelled by `ids`, the collapsed outputs of all clips one after another."""
        pieces = self.pieces[ids]
        ends = np.cumsum(lengths)
        texts = ["".join(pieces[end - length : end]).strip() for end, length in zip(ends, lengths, strict=True)]
        return [text.lower() for text in texts] if self.lower_case else texts


def ctc_frames_needed(labels: Sequence[int]) -> int:
    """Return the fewest frames whose CTC paths can spell `labels`: one each, and a blank between two equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def greedy_transcripts(logits: torch.Tensor, frames: torch.Tensor, vocabulary: Vocabulary) -> list[str]:
    """Return the most probable path of each clip as text, the same as the tokenizer's `batch_decode` of each alone.

    Repetitions collapse before blanks go ("hotellet" keeps its double l); frames past the end of a clip never count.

    Args:
        logits: `(batch, frames, outputs)`, any float type, on any device.
        frames: `(batch,)` integers, the true number of frames of each clip.
        vocabulary: what the outputs stand for.
    """
    first_ids = torch.from_numpy(vocabulary.first_ids).to(logits.device)
    ids = first_ids[logits.argmax(dim=-1)]
    starts = torch.ones_like(ids, dtype=torch.bool)
    starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
    inside = torch.arange(ids.shape[1], device=ids.device)[None, :] < frames.to(ids.device)[:, None]
    kept = starts & (ids != vocabulary.blank) & inside
    return vocabulary.join(ids[kept].cpu().numpy(), kept.sum(dim=1).cpu().numpy())
