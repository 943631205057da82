"""Word error rates of a network in training on held-out clips, decoded in float32 whatever the precision of the training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from shared.wer import count_word_errors_batch, pooled_wer
from tests.benchmarks.trainer.clips import Clip, read_audio
from tests.benchmarks.trainer.jobs import Precision, Score
from trainer.network.batching import BatchBudget, pad_features, plan_batches
from trainer.network.decode import greedy_transcripts
from trainer.network.features import Frontend
from trainer.network.model import AcousticModel

BUDGET = BatchBudget(clips=32, frames=16_000)


class HeldOut:
    """Clips whose convolution features are computed once: every variant leaves the convolutions alone.

    Args:
        model: the untrained network.
        folder: of the clips.
        clips: roles `held_out` and `held_out_clean`.
        precision: in which the network is going to be trained, and is decoded.
    """

    def __init__(self, model: AcousticModel, folder: Path, clips: Sequence[Clip], precision: Precision) -> None:
        self._clips = clips
        self._precision = precision
        self._vocabulary = model.vocabulary
        self._features = Frontend(model, precision=precision).below([read_audio(folder, clip) for clip in clips])

    def score(self, model: AcousticModel, trained_s: float) -> Score:
        """Transcribe with the network as it is now; its modes are put back afterwards."""
        frontend, heard = Frontend(model, precision=self._precision), [""] * len(self._clips)
        with _evaluating(model.network), torch.no_grad():
            for batch in plan_batches([len(features) for features in self._features], BUDGET):
                padded, lengths = pad_features([self._features[index] for index in batch])
                logits = frontend.above(padded, lengths).float()
                for index, text in zip(batch, greedy_transcripts(logits, lengths, self._vocabulary), strict=True):
                    heard[index] = text
        return Score(trained_s, self._wer(heard, "held_out"), self._wer(heard, "held_out_clean"))

    def _wer(self, heard: Sequence[str], role: str) -> float:
        pairs = [(clip.text, text) for clip, text in zip(self._clips, heard, strict=True) if clip.role == role]
        rate = pooled_wer(count_word_errors_batch([text for text, _ in pairs], [text for _, text in pairs]))
        if rate is None:
            raise ValueError(f"clips {role}: expected words, found none")
        return rate


@contextmanager
def _evaluating(network: Any) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
