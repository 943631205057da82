"""The CTC loss of one clip is its own, whatever lies beside it in the batch."""

import math

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from trainer.learning.loss import ctc_loss, join_labels

pytestmark = pytest.mark.torch


def test_each_clips_loss_is_over_its_labels() -> None:
    torch.manual_seed(0)
    frames, labels = torch.tensor([6, 4]), [[1, 2, 2], [3]]
    together = ctc_loss(torch.randn(2, 6, 5), frames, labels, 0)
    torch.manual_seed(0)
    rows = torch.randn(2, 6, 5)
    alone = [ctc_loss(rows[row : row + 1, : frames[row]], frames[row : row + 1], labels[row : row + 1], 0)[0] for row in range(2)]
    torch.testing.assert_close(together, torch.stack(alone))
    even = torch.zeros(1, 2, 5)  # two frames, one label: the paths -1, 1-, 11 of 25 equally likely ones
    assert ctc_loss(even, torch.tensor([2]), [[1]], 0).item() == pytest.approx(math.log(25 / 3))


def test_what_is_past_the_end_of_a_clip_does_not_move_its_loss() -> None:
    rows = torch.randn(1, 6, 5)
    other = rows.clone()
    other[:, 4:] = 7.0
    losses = [ctc_loss(each, torch.tensor([4]), [[1, 2]], 0) for each in (rows, other)]
    assert torch.equal(losses[0], losses[1])


def test_labels_are_not_padded() -> None:
    labels, label_lengths = join_labels([(5, 6), (), (7,)], torch.device("cpu"))
    assert labels.tolist() == [5, 6, 7]
    assert label_lengths.tolist() == [2, 0, 1]
