"""Two processes that train together come to the weights that one alone comes to."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from safetensors.torch import load_file

from shared.errors import InvalidMessage
from shared.testing.clock import FakeClock
from shared.training import LoraConfig, SetRole, TrainingConfig
from trainer.clips.load import UsableClip
from trainer.clips.sets import TrainingSets
from trainer.learning.group import Group, open_group
from trainer.learning.train import TrainingRun, train
from trainer.network.model import AcousticModel, load_model
from trainer.shell.progress import Progress
from trainer.testing import usable_clips, write_tiny_model

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = TrainingConfig(epochs=2, batch_size=3, learning_rate=3e-3, lora=LoraConfig(rank=4, alpha=8, dropout=0.0))


def group_sets(model: AcousticModel, folder: Path) -> TrainingSets:
    """Seven clips in batches of three: the last batch has fewer clips than there are processes."""

    def load(prefix: str, texts: Sequence[str], role: SetRole) -> list[UsableClip]:
        return usable_clips(model, folder, {f"{prefix}{number}": text for number, text in enumerate(texts)}, role=role)

    return TrainingSets(
        load("e", ["hotellet", "gob", "jak lom", "abba"], "train_errors"),
        load("r", ["fig", "nop", "abe"], "train_replay"),
        load("d", ["hot"], "dev_errors"),
    )


def run_group(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "tests/group_driver.py", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("changes", [{}, {"method": "full", "max_train_s": 3600.0}], ids=["lora", "full"])
def test_two_processes_come_to_the_weights_of_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = CONFIG.model_copy(update=changes)
    write_tiny_model(tmp_path / "base")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    ended = run_group(tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    torch.set_num_threads(1)
    model = load_model(tmp_path / "base", torch.device("cpu"))
    progress = Progress(tmp_path / "alone.jsonl", FakeClock(), bars=False)
    alone = train(model, group_sets(model, tmp_path), config, TrainingRun(progress, max_padding=1.0)).adapted.weights()
    together = load_file(tmp_path / "group.safetensors")
    assert together.keys() == alone.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, atol=2e-5, rtol=1e-4)
    base = {name: weight for name, weight in load_model(tmp_path / "base").network.named_parameters() if name in alone}
    assert not base or any(not torch.equal(base[name], alone[name]) for name in base)


@pytest.mark.parametrize("sign", ["nothing-to-do", "leave"])
def test_followers_go_home_when_there_is_nothing_to_do_and_when_rank_0_leaves(tmp_path: Path, sign: str) -> None:
    write_tiny_model(tmp_path / "base")
    (tmp_path / "config.json").write_text(CONFIG.model_dump_json())
    (tmp_path / sign).touch()
    ended = run_group(tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert not (tmp_path / "group.safetensors").exists()


def test_each_process_takes_every_nth_clip_of_a_step() -> None:
    assert [Group(rank, 3).share([7, 6, 5, 4]) for rank in range(3)] == [[7, 4], [6], [5]]


def test_a_process_alone_adds_and_hears_only_itself() -> None:
    weight = torch.ones(2)
    Group().add_up([weight])
    assert weight.tolist() == [1.0, 1.0]
    assert Group().sums([1.5, 2.0], torch.device("cpu")) == [1.5, 2.0]
    assert Group().text_from_leader("go") == "go"


def test_processes_on_several_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InvalidMessage, match="all 4 processes on one machine, found 2"):
        open_group()
