"""What the other processes of a group do: wait for rank 0's work, train with it, go.

rank 0        claims the cycle, fetches base and clips   hands the work over   trains   evaluates, uploads, publishes
the others    wait ---------------------------------------------------------> train -> end
"""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch.distributed as dist

from shared.clock import SystemClock
from shared.documents import Frozen
from shared.log import log
from shared.training import TrainingConfig
from trainer.clips.sets import TrainingSets
from trainer.learning.group import Group
from trainer.learning.train import TrainingRun, train
from trainer.network.model import load_model
from trainer.shell.failures import RunFailed, RunStopped
from trainer.shell.progress import Progress


class Work(Frozen):
    """One training, all of it on the disk that the group shares."""

    base_folder: Path
    base_digest: str
    config: TrainingConfig
    sets: TrainingSets


@dataclass
class Followers:
    """The other processes, as rank 0 sees them.

    Attributes:
        group: with them.
        waiting: they have not been told what to do.
    """

    group: Group = field(default_factory=Group)
    waiting: bool = True

    def hand_over(self, base_folder: Path, base_digest: str, config: TrainingConfig, sets: TrainingSets) -> None:
        """Give them the training that rank 0 is about to begin.

        Args:
            base_folder: holds the base model, on the disk that they share.
            base_digest: of its weights.
            config: as the spec has it.
            sets: their audio lies on that disk, too.
        """
        self.waiting = False
        if self.group.size == 1:
            return
        work = Work(base_folder=base_folder, base_digest=base_digest, config=config, sets=sets)
        self.group.text_from_leader(work.model_dump_json())

    def dismiss(self) -> None:
        """Send them home if there was nothing to do; who trains already sees that rank 0 has gone."""
        if self.waiting:
            self.group.text_from_leader("")
            self.waiting = False


def follow(group: Group, work_dir: Path) -> int:
    """Wait for work, train along, and return the exit code: 0 also when rank 0 has left early, or all fail alike: rank 0 explains it."""
    try:
        text = group.text_from_leader()
        if text:
            _train_along(Work.model_validate_json(text), group, work_dir)
    except RunFailed as failure:
        log(f"failed as all others: {failure}", severity="WARNING", rank=group.rank)
    except (dist.DistError, RuntimeError) as error:
        if not _leader_left(error):
            raise
        log("rank 0 has left", severity="WARNING", rank=group.rank)
    return 0


def _train_along(work: Work, group: Group, work_dir: Path) -> None:
    model = load_model(work.base_folder)
    progress = Progress(work_dir / f"rank-{group.rank}.jsonl", SystemClock(), bars=False)
    with suppress(RunStopped):
        train(model, work.sets, work.config, TrainingRun(progress, group=group, base_digest=work.base_digest))


def _leader_left(error: Exception) -> bool:
    """Tell a closed connection from an error of our own; gloo and NCCL have no exception class for it."""
    text = str(error).casefold()
    return any(sign in text for sign in ("connection closed", "connection reset", "broken pipe", "remote process exited"))
