"""What the frozen part of a network makes of each clip, computed once and kept where that wins.

Frozen are the convolutions; with adapters in the topmost layers alone also the projection and the layers below. What they give is the
same in every epoch as long as nothing disturbs the audio, and is computed for each clip without padding.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from trainer.network.batching import pad_features
from trainer.network.forward import Mask, add_positions, convolve, head, project, run_layers
from trainer.network.memory import free_bytes, in_halves
from trainer.network.model import AcousticModel, Samples
from trainer.network.prefetch import prefetched

SHARE = 0.25
"""Share of what is free when it is made that one cache may take; those of the dev sets are made before the training set's."""
TRIAL_REPEATS = 3


@dataclass(frozen=True)
class Frontend:
    """Where a network is cut: what lies below is frozen, what follows is trained.

    Attributes:
        model: the whole network.
        layer: the cut is before this encoder layer; None = right after the convolutions.
        precision: of everything that is computed on either side; the cut's output is kept in it.
    """

    model: AcousticModel
    layer: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    @cached_property
    def dtype(self) -> torch.dtype:
        """Of what is kept."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which both sides are computed."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def below(self, clips: Sequence[Samples]) -> list[torch.Tensor]:
        """Return `(frames, channels or hidden)` of each clip at the cut, in `dtype`, without a graph."""
        return in_halves(self._below, clips)

    def _below(self, clips: Sequence[Samples]) -> list[torch.Tensor]:
        with torch.no_grad(), self.autocast():
            features = convolve(self.model, clips)
            if self.layer is not None:
                # a CPU computes each clip alone: then the numbers do not depend on the company, and a resumed run is an exact one
                groups = [[clip] for clip in features] if self.model.device.type == "cpu" else [features]
                features = [row for group in groups for row in self._hidden_states(group, self.layer)]
            return [row.to(self.dtype) for row in features]

    def _hidden_states(self, features: Sequence[torch.Tensor], layer: int) -> list[torch.Tensor]:
        padded, lengths = pad_features(features)
        network = self.model.network
        hidden = run_layers(network, add_positions(network, project(network, padded), lengths), lengths, range(layer))
        return [hidden[row, :length].clone() for row, length in enumerate(lengths.tolist())]  # a view would keep the whole batch alive

    def above(
        self, hidden: torch.Tensor, lengths: torch.Tensor, mask: Mask | None = None, *, gradient_checkpointing: bool = False
    ) -> torch.Tensor:
        """Return `(batch, frames, outputs)` logits of padded values at the cut.

        Args:
            hidden: `(batch, frames, channels or hidden)`, zero past the end of a clip.
            lengths: `(batch,)` true frames, on the host.
            mask: SpecAugment; only where the cut is right after the convolutions.
            gradient_checkpointing: in training, compute activations twice instead of keeping them.
        """
        network = self.model.network
        with self.autocast():
            if self.layer is None:
                projected = project(network, hidden)
                hidden = add_positions(network, projected if mask is None else mask(projected, lengths), lengths)
            layers = range(self.layer or 0, network.config.num_hidden_layers)
            return head(network, run_layers(network, hidden, lengths, layers, gradient_checkpointing=gradient_checkpointing))


@dataclass(frozen=True)
class CacheTrial:
    """What it takes to have one batch at the cut, in seconds: from memory, and computed anew."""

    kept_s: float
    computed_s: float

    @property
    def wins(self) -> bool:
        """Keeping is the faster."""
        return self.kept_s < self.computed_s


class FeatureCache:
    """Values at the cut for many clips, kept after their first use as long as they fit.

    A clip that no longer fits is computed again each time, to the same numbers. On a GPU the cache lies in its memory: through the
    host it costs more than it saves (sanchit-gandhi/seq2seq-speech#16).

    Args:
        frontend: computes them.
        waveforms: decode the clips: `(samples,)` float32 each.
        max_bytes: that the kept values may take; None = a share of what is free on the device.
    """

    def __init__(self, frontend: Frontend, waveforms: Sequence[Callable[[], Samples]], max_bytes: int | None = None) -> None:
        self.frontend = frontend
        self._waveforms = waveforms
        self._kept: dict[int, torch.Tensor] = {}
        self._free = int(SHARE * free_bytes(frontend.model.device)) if max_bytes is None else max_bytes

    @property
    def kept_bytes(self) -> int:
        """What the kept values take."""
        return sum(tensor.nbytes for tensor in self._kept.values())

    def batches(
        self, batches: Sequence[list[int]], altered: Mapping[int, Callable[[], Samples]] | None = None
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Yield each batch of indices with its padded values and their lengths; see `pad_features`. Audio is decoded ahead by threads.

        Args:
            batches: indices of clips.
            altered: waveforms to take this time instead of a clip's own; nothing of them is kept.
        """
        instead = altered or {}

        def load(index: int) -> Samples | None:
            if index in instead:
                return instead[index]()
            return None if index in self._kept else self._waveforms[index]()

        for batch, waveforms in prefetched(batches, load):
            yield batch, *pad_features(self._values(batch, waveforms, instead))

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the padded values of one batch and their lengths."""
        return next((values, lengths) for _, values, lengths in self.batches([list(indices)]))

    def drop(self) -> None:
        """Forget everything and keep nothing from now on."""
        self._kept.clear()
        self._free = 0

    def trial(self, batch: Sequence[int]) -> CacheTrial | None:
        """Measure both ways to have one batch; None if not all of it is kept."""
        if not all(index in self._kept for index in batch):
            return None
        kept_s = self._median_s(lambda: pad_features([self._kept[index] for index in batch]))
        computed_s = self._median_s(lambda: pad_features(self.frontend.below([self._waveforms[index]() for index in batch])))
        return CacheTrial(kept_s, computed_s)

    def _values(self, batch: Sequence[int], waveforms: Sequence[Samples | None], altered: Mapping[int, object]) -> list[torch.Tensor]:
        missing = {index: waveform for index, waveform in zip(batch, waveforms, strict=True) if waveform is not None}
        made = dict(zip(missing, self.frontend.below(list(missing.values())), strict=True)) if missing else {}
        for index, values in made.items():
            if index not in altered and index not in self._kept and values.nbytes <= self._free:
                self._free -= values.nbytes
                self._kept[index] = values
        return [made[index] if index in made else self._kept[index] for index in batch]

    def _median_s(self, work: Callable[[], object]) -> float:
        times = []
        for _ in range(TRIAL_REPEATS):
            started = time.perf_counter()
            work()
            if self.frontend.model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return sorted(times)[TRIAL_REPEATS // 2]
