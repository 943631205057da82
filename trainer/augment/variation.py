"""What makes a clip another one each time it is seen: masks over its features, and replay that sounds like the errors.

All of it follows from the config's seed and the place in the training, so that a resumed run draws the same.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from shared.training import TrainingConfig
from trainer.augment.line import apply, measure
from trainer.augment.spec_augment import apply_masks, channel_mask, time_mask
from trainer.clips.load import UsableClip
from trainer.network.forward import Mask
from trainer.network.model import AcousticModel, Samples

PROFILED_CLIPS = 200
"""So many clips of a kind tell what their line sounds like."""

RowMask = Callable[[list[int]], Mask | None]
"""Returns the mask of some rows of a step's batch."""


def step_mask(model: AcousticModel, config: TrainingConfig, frames: Sequence[int], place: tuple[int, int]) -> RowMask:
    """Return SpecAugment's masks for one step: the same for each clip, however the step is cut into pieces.

    Args:
        model: whose features are masked.
        config: says how much.
        frames: of each clip of the step.
        place: step and process.
    """
    settings = config.spec_augment
    if settings is None or not frames:
        return lambda _rows: None
    rng = np.random.default_rng((config.seed, 1, *place))
    times = time_mask(frames, settings, rng)
    channels = channel_mask(len(frames), int(model.network.config.hidden_size), settings, rng)
    fill = model.network.wav2vec2.masked_spec_embed if model.has_mask_embedding else None

    def of(rows: list[int]) -> Mask:
        def lay(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return apply_masks(hidden, times[rows][:, : hidden.shape[1]], channels[rows], fill, lengths)

        return lay

    return of


def replay_like_errors(
    errors: Sequence[UsableClip], replay: Sequence[UsableClip], config: TrainingConfig, rate_hz: int
) -> Callable[[int], Mapping[int, Callable[[], Samples]]]:
    """Return what tells for an epoch (from 0) which replay clips are altered, and gives their waveforms."""
    settings, seed = config.augmentation, config.seed
    if settings is None or not replay:
        return lambda _epoch: {}
    heard, trusted = ([clip.waveform() for clip in clips[:PROFILED_CLIPS]] for clips in (errors, replay))
    profile = measure(heard, trusted, rate_hz)

    def alter(epoch: int, index: int) -> Samples:
        return apply(profile, replay[index].waveform(), settings, np.random.default_rng((seed, 2, epoch, index)))

    def of(epoch: int) -> Mapping[int, Callable[[], Samples]]:
        drawn = np.random.default_rng((seed, 3, epoch)).random(len(replay)) < settings.share
        return {index: partial(alter, epoch, index) for index in np.flatnonzero(drawn).tolist()}

    return of
