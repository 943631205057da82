"""Batches of nearly equal length."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from trainer.network.batching import BatchBudget, pad_features, padding_share, plan_batches, split_batch

pytestmark = pytest.mark.torch


def lognormal_lengths(clips: int = 1000) -> list[int]:
    """Return frame counts of clips around 4 s at 50 frames a second, as spread as real calls are."""
    lengths: list[int] = (np.random.default_rng(0).lognormal(np.log(200), 0.7, size=clips).astype(int) + 1).tolist()
    return lengths


@pytest.mark.parametrize("rng", [None, np.random.default_rng(3)])
def test_every_clip_is_in_one_batch(rng: np.random.Generator | None) -> None:
    lengths = lognormal_lengths()
    batches = plan_batches(lengths, BatchBudget(clips=8, frames=4000), rng)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


def test_no_batch_exceeds_its_budget_but_one_long_clip_may() -> None:
    lengths = [10, 900, 20, 30, 40]
    assert plan_batches(lengths, BatchBudget(clips=2, frames=100)) == [[1], [4, 3], [2, 0]]
    batches = plan_batches(lognormal_lengths(), BatchBudget(clips=16, frames=2000), np.random.default_rng(0))
    for batch in batches:
        longest = max(lognormal_lengths()[index] for index in batch)
        assert len(batch) <= 16
        assert len(batch) == 1 or longest * len(batch) <= 2000


def test_at_most_a_twentieth_of_a_batch_is_padding() -> None:
    lengths = lognormal_lengths()
    assert padding_share(lengths, plan_batches(lengths, BatchBudget(8, 10**6), np.random.default_rng(0))) < 0.05
    random = np.array_split(np.random.default_rng(0).permutation(len(lengths)), 125)
    assert padding_share(lengths, [batch.tolist() for batch in random]) > 0.4


def test_the_longest_batch_comes_first_without_shuffling() -> None:
    batches = plan_batches(lognormal_lengths(), BatchBudget(8, 10**6))
    longest = [max(lognormal_lengths()[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_epochs_differ_and_repeat_with_their_seed() -> None:
    lengths, budget = lognormal_lengths(), BatchBudget(8, 10**6)
    first, second, again = (plan_batches(lengths, budget, np.random.default_rng((0, epoch))) for epoch in (1, 2, 1))
    assert first == again
    assert first != second


def test_no_clips_make_no_batches() -> None:
    assert plan_batches([], BatchBudget(8, 100)) == []
    assert padding_share([], []) == 0.0


def test_features_are_padded_with_zeros() -> None:
    padded, lengths = pad_features([torch.ones(2, 3), torch.ones(4, 3)])
    assert padded.shape == (2, 4, 3)
    assert padded.sum().item() == 18
    assert lengths.tolist() == [2, 4]


def test_pieces_keep_to_the_memory_and_to_the_padding_that_is_allowed() -> None:
    lengths = [10, 100, 96, 50, 48, 95]
    assert split_batch(range(6), lengths, None, 0.05) == [[1, 2, 5], [3, 4], [0]]
    assert split_batch(range(6), lengths, 200, 0.05) == [[1, 2], [5], [3, 4], [0]]
    assert split_batch(range(6), lengths, None, 1.0) == [[1, 2, 5, 3, 4, 0]]
    assert split_batch(range(6), lengths, 1, 1.0) == [[1], [2], [5], [3], [4], [0]]


def test_whatever_the_clips_at_most_a_twentieth_of_what_is_computed_is_padding() -> None:
    lengths = lognormal_lengths(20)  # so few that batches alone cannot be even
    batches = plan_batches(lengths, BatchBudget(clips=8, frames=8000), np.random.default_rng(1))
    assert padding_share(lengths, batches) > 0.05
    assert padding_share(lengths, [piece for batch in batches for piece in split_batch(batch, lengths, None, 0.05)]) <= 0.05
