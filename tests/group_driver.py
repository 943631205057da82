"""Trains along with torchrun: `torchrun --nproc-per-node 2 tests/group_driver.py FOLDER`; rank 0 writes FOLDER/group.safetensors."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from shared.clock import SystemClock
from shared.training import TrainingConfig
from tests.unit.test_trainer_group import group_sets
from trainer.attempt.follow import Followers, follow
from trainer.learning.group import Group, left_in_order, open_group
from trainer.learning.train import TrainingRun, train
from trainer.network.model import load_model
from trainer.shell.progress import Progress


def main(folder: Path) -> int:
    torch.set_num_threads(1)
    with left_in_order():
        return work(open_group(), folder)


def work(group: Group, folder: Path) -> int:
    if not group.leads:
        return follow(group, folder)
    if (folder / "nothing-to-do").exists():
        Followers(group).dismiss()
        return 0
    config = TrainingConfig.model_validate_json((folder / "config.json").read_text())
    model = load_model(folder / "base")
    sets = group_sets(model, folder)
    Followers(group).hand_over(folder / "base", "base", config, sets)
    progress = Progress(folder / "log.jsonl", SystemClock(), bars=False)
    if (folder / "leave").exists():
        return 0
    tuned = train(model, sets, config, TrainingRun(progress, group=group, base_digest="base", max_padding=1.0))
    save_file(tuned.adapted.weights(), folder / "group.safetensors")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
