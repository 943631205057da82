"""Where a training stands, complete enough to go on as if nothing had happened, and its form on disk.

Randomness is no part of it: every step draws from its own seed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from shared.documents import Frozen
from shared.errors import CorruptObject
from shared.training import EpochFigures
from trainer.network.memory import Room

Tensors = dict[str, torch.Tensor]
MOMENTS = ("exp_avg", "exp_avg_sq")


class EpochRecord(Frozen):
    """What one epoch did.

    Attributes:
        epoch: from 1.
        loss: mean over its steps.
        train_s: seconds without the time on dev.
        dev_errors_wer, dev_replay_wer: afterwards; None = no dev clips.
        dev_empty_share: of the dev clips, those in which nothing was heard.
    """

    epoch: int
    loss: float
    train_s: float
    dev_errors_wer: float | None = None
    dev_replay_wer: float | None = None
    dev_empty_share: float = 0.0

    @property
    def figures(self) -> EpochFigures:
        """What people are shown of it."""
        return EpochFigures(epoch=self.epoch, loss=self.loss, dev_errors_wer=self.dev_errors_wer, dev_replay_wer=self.dev_replay_wer)


class BestEpoch(BaseModel):
    """Weights that did well on dev; on disk they lie among the checkpoint's tensors."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    epoch: int
    dev_wer: float
    weights: Tensors = Field(default_factory=dict, exclude=True, repr=False)


class TrainState(BaseModel):
    """A training after `step` optimizer steps.

    Attributes:
        step: optimizer steps done.
        finished: the weights are the chosen ones; nothing is left to do.
        losses: of the steps of the epoch that runs.
        epoch_s: seconds of the epoch that runs.
        epochs: the epochs that are over.
        first_loss: of the very first step.
        room: what fits into the memory: other pieces add up to other last digits.
        best: the best epochs so far, best first.
        chosen: why the final weights were taken.
    """

    step: int = 0
    finished: bool = False
    losses: list[float] = []
    epoch_s: float = 0.0
    epochs: list[EpochRecord] = []
    first_loss: float | None = None
    room: Room = Field(default_factory=Room)
    best: list[BestEpoch] = []
    chosen: str = ""

    @property
    def train_s(self) -> float:
        """Seconds of training so far, over all attempts."""
        return sum(record.train_s for record in self.epochs) + self.epoch_s


class _Header(Frozen):
    """The part of a checkpoint that is no tensor."""

    v: Literal[2] = 2
    fingerprint: str
    state: TrainState


def write_state(
    path: Path, fingerprint: str, state: TrainState, weights: Mapping[str, torch.Tensor], moments: Mapping[str, Tensors]
) -> None:
    """Write a checkpoint as safetensors.

    Args:
        path: of the file.
        fingerprint: of the run; only the same run may go on from it.
        state: where the training stands.
        weights: the trained weights.
        moments: AdamW's `exp_avg` and `exp_avg_sq`, each by the weights' names.
    """
    groups = {"weights": weights, **moments, **{f"best-{best.epoch}": best.weights for best in state.best}}
    tensors = {f"{group}/{name}": tensor.detach().cpu().contiguous() for group, named in groups.items() for name, tensor in named.items()}
    save_file(tensors, path, metadata={"header": _Header(fingerprint=fingerprint, state=state).model_dump_json()})


def read_fingerprint(path: Path) -> str:
    """Return the fingerprint of the run that wrote a checkpoint.

    Raises:
        CorruptObject: it is no checkpoint.
    """
    with _open(path) as file:
        return _header(path, file).fingerprint


def read_state(path: Path) -> tuple[TrainState, Tensors, dict[str, Tensors]]:
    """Return state, weights and AdamW's moments of a checkpoint, on the CPU.

    Raises:
        CorruptObject: it is no checkpoint.
    """
    with _open(path) as file:
        header = _header(path, file)
        groups: dict[str, Tensors] = {}
        for key in file.keys():  # noqa: SIM118 - not a dict
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    state = header.state
    for best in state.best:
        best.weights = groups[f"best-{best.epoch}"]
    return state, groups["weights"], {name: groups.get(name, {}) for name in MOMENTS}


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CorruptObject(f"checkpoint {path.name}: expected safetensors, found {error}") from error


def _header(path: Path, file: Any) -> _Header:
    try:
        return _Header.model_validate_json((file.metadata() or {}).get("header", ""))
    except ValidationError as error:
        raise CorruptObject(f"checkpoint {path.name}: expected the state of a training, found {error.errors()[0]['msg']}") from error
