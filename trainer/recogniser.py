"""Speech to text with a model folder: the one way in which server, trainer and smoke test decode.

A transcript does not depend on what else is in the batch, so that what was judged is what is served.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch.nn.utils import parametrize

from trainer.batching import BatchBudget, pad_features, plan_batches
from trainer.decode import greedy_transcripts
from trainer.features import conv_features, encode
from trainer.model import AcousticModel, Samples, load_model

BUDGET = BatchBudget(clips=16, frames=16_000)
"""16,000 frames are about 320 s of padded audio."""


class Recogniser:
    """A loaded model that transcribes.

    Attributes:
        model: network and vocabulary; the network's positional convolution is folded, so it cannot be saved any more.
    """

    def __init__(self, model: AcousticModel) -> None:
        self.model = model
        convolution = model.network.wav2vec2.encoder.pos_conv_embed.conv
        if parametrize.is_parametrized(convolution, "weight"):
            parametrize.remove_parametrizations(convolution, "weight", leave_parametrized=True)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None) -> Self:
        """Load a model folder onto a device (by default the GPU if there is one).

        Raises:
            CorruptObject: the folder is not a complete model.
        """
        return cls(load_model(Path(folder), torch.device(device) if device is not None else None))

    def transcribe(self, clips: Sequence[Samples]) -> list[str]:
        """Return the transcript of each clip, in order.

        Args:
            clips: `(samples,)` float32 each, at `model.sampling_rate_hz`, of any length; nothing is padded by the caller.
        """
        texts = [""] * len(clips)
        for batch in plan_batches([self.model.frames_of(clip.size) for clip in clips], BUDGET):
            heard = self.transcribe_features([self.features(clips[index]) for index in batch])
            for index, text in zip(batch, heard, strict=True):
                texts[index] = text
        return texts

    def features(self, samples: Samples) -> torch.Tensor:
        """Return the `(frames, channels)` convolution features of one clip."""
        return conv_features(self.model, samples)

    def logits(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `(batch, frames, outputs)` float32 logits of one batch of features, and the `(batch,)` true frames."""
        padded, lengths = pad_features(features)
        with torch.inference_mode():
            return encode(self.model.network, padded, lengths), lengths

    def transcribe_features(self, features: Sequence[torch.Tensor]) -> list[str]:
        """Return the transcripts of one batch of features."""
        return greedy_transcripts(*self.logits(features), self.model.vocabulary)
