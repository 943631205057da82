"""Greedy CTC decoding and the vocabulary."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from transformers import Wav2Vec2CTCTokenizer

from trainer.network.decode import Unspellable, Vocabulary, ctc_frames_needed, greedy_transcripts
from trainer.testing import VOCABULARY, write_tiny_model

pytestmark = pytest.mark.torch

TOKENS = tuple(VOCABULARY)


def logits_of(paths: list[list[int]], outputs: int = len(TOKENS)) -> torch.Tensor:
    """Return `(batch, frames, outputs)` logits whose greedy paths are these; short ones are padded with a letter."""
    frames = max(map(len, paths))
    ids = torch.full((len(paths), frames), TOKENS.index("z"))
    for row, path in enumerate(paths):
        ids[row, : len(path)] = torch.tensor(path)
    return torch.nn.functional.one_hot(ids, outputs).float()


def test_collapse_equals_the_tokenizers_batch_decode(tmp_path: Path) -> None:
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(write_tiny_model(tmp_path))
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 60, size=200)
    # few different ids, so that repetitions, blanks between them, delimiters and special tokens all meet; 33, 34 have no token
    paths = [rng.choice([0, 0, 1, 3, 4, 4, 6, 7, 8, 33, 34], size=length).tolist() for length in lengths]
    vocabulary = Vocabulary((*TOKENS, "<unk>", "<unk>", "<unk>"), blank=0)
    found = greedy_transcripts(logits_of(paths, outputs=len(TOKENS) + 3), torch.from_numpy(lengths), vocabulary)
    assert found == [tokenizer.decode(path) for path in paths]


def test_a_double_letter_with_a_blank_between_stays_double() -> None:
    h, o, t, e, l_ = (TOKENS.index(char) for char in "hotel")
    path = [h, h, 0, o, t, t, 0, e, l_, l_, 0, 0, l_, e, t]
    assert greedy_transcripts(logits_of([path]), torch.tensor([len(path)]), Vocabulary(TOKENS, blank=0)) == ["hotellet"]


def test_frames_past_the_end_of_a_clip_do_not_count() -> None:
    a = TOKENS.index("a")
    assert greedy_transcripts(logits_of([[a], [a, 0, a, a]]), torch.tensor([1, 4]), Vocabulary(TOKENS, blank=0)) == ["a", "aa"]


def test_a_path_of_blanks_is_empty() -> None:
    assert greedy_transcripts(logits_of([[0, 0, 0]]), torch.tensor([3]), Vocabulary(TOKENS, blank=0)) == [""]


def test_labels_are_normalised_and_in_the_vocabularys_case() -> None:
    lower = Vocabulary(TOKENS, blank=0)
    upper = Vocabulary(tuple(token.upper() for token in TOKENS), blank=0)
    expected = [TOKENS.index(char) for char in "don't|go"]
    assert lower.encode("  Don\u2019t   GO! ") == expected
    assert upper.encode("Don't go") == expected


@pytest.mark.parametrize("reference", ["room 5", "caf\u00e9", "5%", "\u3042"])
def test_a_reference_outside_the_vocabulary_is_refused(reference: str) -> None:
    with pytest.raises(Unspellable):
        Vocabulary(TOKENS, blank=0).encode(reference)


def test_equal_neighbours_need_a_frame_more() -> None:
    assert ctc_frames_needed([1, 2, 3]) == 3
    assert ctc_frames_needed([1, 1, 2, 2, 2]) == 8
    assert ctc_frames_needed([]) == 0
