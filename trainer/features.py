"""The frozen half of the network: convolution features, computed once for each clip alone, and what follows them.

Padding before the convolutions changes what a model with `feat_extract_norm="group"` hears (its norm runs over the padded
time axis; huggingface/transformers#10117). Padding after them does not: the encoder masks it. So features are always
computed unpadded, which also makes them the same for every epoch, every batch, and the server's batch of one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from trainer.batching import pad_features
from trainer.model import AcousticModel, Samples

GPU_SHARE = 0.25
"""Share of the free GPU memory that cached features may take."""


def conv_features(model: AcousticModel, samples: Samples) -> torch.Tensor:
    """Return the convolution features of one clip.

    Args:
        model: the network and its preprocessing.
        samples: `(samples,)` float32 at the model's rate, as decoded.

    Returns:
        `(frames, channels)` float32 on the model's device, without a graph.
    """
    prepared = torch.from_numpy(model.prepare(samples)).to(model.device)
    with torch.no_grad():
        features: torch.Tensor = model.network.wav2vec2.feature_extractor(prepared[None])
    return features[0].transpose(0, 1).contiguous()


def encode(network: Any, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the logits that follow from convolution features.

    Calls the parts of `Wav2Vec2ForCTC.forward` that come after the convolutions; SpecAugment and the dropouts of the
    frozen network are no part of it.

    Args:
        network: `Wav2Vec2ForCTC`, with or without LoRA inside.
        features: `(batch, frames, channels)`, zero past the end of a clip.
        lengths: `(batch,)` true frames.

    Returns:
        `(batch, frames, outputs)`.
    """
    positions = torch.arange(features.shape[1], device=features.device)
    mask = positions[None, :] < lengths.to(features.device)[:, None] if features.shape[0] > 1 else None
    hidden, _ = network.wav2vec2.feature_projection(features)
    encoded = network.wav2vec2.encoder(hidden, attention_mask=mask)
    logits: torch.Tensor = network.lm_head(encoded.last_hidden_state)
    return logits


class FeatureCache:
    """Features of many clips, kept after their first use as long as they fit.

    A clip that no longer fits is computed again each time, to the same numbers. On a GPU the cache lies in its memory:
    through the host it costs more than it saves (sanchit-gandhi/seq2seq-speech#16).
    """

    def __init__(self, model: AcousticModel, waveforms: Sequence[Callable[[], Samples]], max_bytes: int | None = None) -> None:
        self._model = model
        self._waveforms = waveforms
        self._kept: dict[int, torch.Tensor] = {}
        self._free = _room(model.device) if max_bytes is None else max_bytes

    def get(self, index: int) -> torch.Tensor:
        """Return `(frames, channels)` of one clip."""
        if index in self._kept:
            return self._kept[index]
        features = conv_features(self._model, self._waveforms[index]())
        size = features.element_size() * features.nelement()
        if size <= self._free:
            self._free -= size
            self._kept[index] = features
        return features

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the padded features of some clips and their lengths; see `pad_features`."""
        return pad_features([self.get(index) for index in indices])


def _room(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    import psutil

    return int(psutil.virtual_memory().available * GPU_SHARE)
