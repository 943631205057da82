"""Masks that no clip is too short for."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.training import SpecAugment
from trainer.augment.spec_augment import apply_masks, channel_mask, time_mask

pytestmark = pytest.mark.torch

NONE = np.zeros((2, 3), dtype=np.bool_)
SHARES = st.integers(0, 99).map(lambda percent: percent / 100)


def runs(row: np.ndarray) -> list[int]:
    """Return the lengths of the masked stretches of a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    lengths: list[int] = (edges[1::2] - edges[::2]).tolist()
    return lengths


def test_half_a_second_is_left_alone() -> None:
    assert time_mask([24], SpecAugment(time_share=0.05, time_frames=10), np.random.default_rng(0)).sum() == 0


def test_the_shortest_clip_with_a_mask_has_one() -> None:
    # 0.05 * 200 = 10 frames are one mask; 0.05 * 199 = 9.95 are none
    mask = time_mask([199, 200], SpecAugment(time_share=0.05, time_frames=10), np.random.default_rng(0))
    assert mask.sum(axis=1).tolist() == [0, 10]


def test_a_share_that_floating_point_rounds_down_still_counts() -> None:
    assert 0.29 * 100 < 29
    assert time_mask([100], SpecAugment(time_share=0.29, time_frames=29), np.random.default_rng(0)).sum() == 29


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=6), SHARES, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_no_clip_of_any_length_loses_more_than_its_share(lengths: list[int], share: float, width: int, seed: int) -> None:
    mask = time_mask(lengths, SpecAugment(time_share=share, time_frames=width), np.random.default_rng(seed))
    assert mask.shape == (len(lengths), max(lengths, default=0))
    for row, length in zip(mask, lengths, strict=True):
        allowed = int(Fraction(str(share)) * length)
        assert row.sum() == allowed // width * width  # whole masks, apart from each other, as many as the share holds
        assert not row[length:].any()
        assert all(run % width == 0 for run in runs(row))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_long_clip_loses_nearly_its_share(share: float) -> None:
    mask = time_mask([3000] * 8, SpecAugment(time_share=share), np.random.default_rng(0))
    np.testing.assert_allclose(mask.mean(axis=1), share, atol=10 / 3000)


def test_every_frame_is_masked_as_often_as_another() -> None:
    mask = time_mask([100] * 20_000, SpecAugment(time_share=0.1, time_frames=10), np.random.default_rng(0))
    share = mask.mean(axis=0)
    # one mask with 91 places: a frame in the middle lies under 10 of them, the first and the last under one
    np.testing.assert_allclose(share[10:90], 10 / 91, atol=0.012)
    np.testing.assert_allclose(share[[0, -1]], 1 / 91, atol=0.004)


def test_masks_differ_between_clips_and_repeat_with_their_seed() -> None:
    lengths, config = [400, 400], SpecAugment(time_share=0.2)
    first, again, other = (time_mask(lengths, config, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (first[0] != first[1]).any()


def test_channels_are_masked_in_bands() -> None:
    mask = channel_mask(3, 160, SpecAugment(channel_share=0.2, channel_width=16), np.random.default_rng(0))
    assert mask.shape == (3, 160)
    assert mask.sum(axis=1).tolist() == [32, 32, 32]
    assert not channel_mask(3, 160, SpecAugment(channel_share=0.05, channel_width=16), np.random.default_rng(0)).any()


def test_masked_frames_become_the_fill_and_masked_channels_zero() -> None:
    hidden = torch.arange(12, dtype=torch.float32).reshape(1, 4, 3)
    time = np.array([[False, True, False, False]])
    channels = np.array([[False, False, True]])
    masked = apply_masks(hidden, time, channels, torch.tensor([7.0, 8.0, 9.0]), torch.tensor([4]))
    assert masked.tolist() == [[[0, 1, 0], [7, 8, 0], [6, 7, 0], [9, 10, 0]]]
    assert hidden.tolist() == torch.arange(12.0).reshape(1, 4, 3).tolist()


def test_without_a_fill_a_frame_becomes_the_mean_of_its_own_clip_padding_aside() -> None:
    hidden = torch.tensor([[[1.0], [2.0], [6.0]], [[1.0], [3.0], [50.0]]])
    time = np.array([[False, True, False], [True, False, False]])
    masked = apply_masks(hidden, time, np.zeros((2, 1), dtype=np.bool_), None, torch.tensor([3, 2]))
    assert masked[:, :, 0].tolist() == [[1, 3, 6], [2, 3, 50]]


def test_gradients_pass_by_the_masks_and_reach_a_fill_that_learns() -> None:
    weight = torch.ones(2, 3, 4, requires_grad=True)
    fill = torch.zeros(4, requires_grad=True)
    time = np.array([[True, False, False], [False, False, True]])
    apply_masks(weight.exp(), time, np.zeros((2, 4), dtype=np.bool_), fill, torch.tensor([3, 3])).sum().backward()
    assert weight.grad is not None
    assert (weight.grad != 0).any(dim=2).tolist() == (~time).tolist()
    assert fill.grad is not None
    assert fill.grad.tolist() == [2, 2, 2, 2]


def test_a_lower_precision_stays_as_it_is() -> None:
    hidden = torch.ones(2, 3, 3, dtype=torch.bfloat16)
    for fill in (torch.zeros(3), None):
        assert apply_masks(hidden, ~NONE, NONE, fill, torch.tensor([3, 3])).dtype == torch.bfloat16


def test_masks_of_nothing_leave_the_features_themselves() -> None:
    hidden = torch.ones(2, 3, 3)
    assert apply_masks(hidden, NONE, NONE, None, torch.tensor([3, 3])) is hidden
