"""Speech to text with a model folder: the one way in which server, trainer and smoke test decode.

A transcript does not depend on what else is in the batch, so that what was judged is what is served.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import torch
from torch.nn.utils import parametrize

from trainer.network.align import LogProbs
from trainer.network.batching import BatchBudget, pad_features, plan_batches
from trainer.network.decode import greedy_transcripts
from trainer.network.features import Frontend
from trainer.network.forward import hold_in_bf16
from trainer.network.memory import in_halves
from trainer.network.model import AcousticModel, Samples, load_model
from trainer.network.prefetch import prefetched

BUDGET = BatchBudget(clips=32, frames=16_000)
"""16,000 frames are about 320 s of padded audio."""


def batches_to_hear(model: AcousticModel, samples: Sequence[int]) -> list[list[int]]:
    """Return batches of indices of clips with so many `samples` each, the longest first."""
    return plan_batches([model.frames_of(length) for length in samples], BUDGET)


class Recogniser:
    """A loaded model that transcribes.

    Attributes:
        model: network and vocabulary; the network's positional convolution is folded, so it cannot be saved any more.
        frontend: how it is computed.
    """

    def __init__(self, model: AcousticModel, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        self.model = model
        self.frontend = Frontend(model, precision=precision)
        convolution = model.network.wav2vec2.encoder.pos_conv_embed.conv
        if parametrize.is_parametrized(convolution, "weight"):
            parametrize.remove_parametrizations(convolution, "weight", leave_parametrized=True)
        if precision == "bf16":
            model.network.requires_grad_(requires_grad=False)
            hold_in_bf16(model.network)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None, precision: Literal["fp32", "bf16"] = "fp32") -> Self:
        """Load a model folder onto a device (by default the GPU if there is one).

        Args:
            folder: of the model.
            device: where to compute.
            precision: bf16 is for speed on a GPU; whoever serves in it must be judged in it.

        Raises:
            CorruptObject: the folder is not a complete model.
        """
        return cls(load_model(Path(folder), torch.device(device) if device is not None else None), precision)

    def transcribe(self, clips: Sequence[Samples]) -> list[str]:
        """Return the transcript of each clip, in order.

        Args:
            clips: `(samples,)` float32 each, at `model.sampling_rate_hz`, of any length; nothing is padded by the caller.
        """
        texts = [""] * len(clips)
        for batch, heard in self.transcribe_lazily([clip.size for clip in clips], lambda index: clips[index]):
            for index, text in zip(batch, heard, strict=True):
                texts[index] = text
        return texts

    def transcribe_lazily(self, samples: Sequence[int], load: Callable[[int], Samples]) -> Iterator[tuple[list[int], list[str]]]:
        """Yield batches of indices with their transcripts, the longest clips first; threads load the next batches meanwhile.

        Args:
            samples: length of each clip.
            load: returns the clip of an index, `(samples,)` float32.
        """
        for batch, clips in prefetched(batches_to_hear(self.model, samples), load):
            yield batch, self.transcribe_features(self.features(clips))

    def hear_lazily(self, samples: Sequence[int], load: Callable[[int], Samples]) -> Iterator[tuple[int, LogProbs]]:
        """Yield the index of each clip with its `(frames, outputs)` log-probabilities, on the host; see `transcribe_lazily`."""
        for batch, clips in prefetched(batches_to_hear(self.model, samples), load):
            yield from zip(batch, in_halves(self._log_probs, self.features(clips)), strict=True)

    def _log_probs(self, features: Sequence[torch.Tensor]) -> list[LogProbs]:
        logits, lengths = self.logits(features)
        log_probs = logits.log_softmax(dim=-1).cpu().numpy()
        return [log_probs[row, :length] for row, length in enumerate(lengths.tolist())]

    def features(self, clips: Sequence[Samples]) -> list[torch.Tensor]:
        """Return the `(frames, channels)` convolution features of each clip."""
        return self.frontend.below(clips)

    def logits(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `(batch, frames, outputs)` float32 logits of one batch of features, and the `(batch,)` true frames."""
        padded, lengths = pad_features(features)
        with torch.inference_mode():
            return self.frontend.above(padded, lengths).float(), lengths

    def transcribe_features(self, features: Sequence[torch.Tensor]) -> list[str]:
        """Return the transcripts of one batch of features."""
        return in_halves(lambda some: greedy_transcripts(*self.logits(some), self.model.vocabulary), features)
