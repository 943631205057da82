"""Runs that end without a model: each says why, with a reason of the closed list."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared import keys
from shared.errors import Retryable
from tests.trainer_cycle import CONFIG, Cycle
from trainer.attempt.smoke import check_same_transcripts
from trainer.shell.carry import Ending
from trainer.shell.failures import RunFailed
from trainer.testing import store_model, write_tiny_model

pytestmark = pytest.mark.torch


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    return Cycle(tmp_path)


def test_a_base_model_with_another_digest_is_not_loaded(cycle: Cycle) -> None:
    data = cycle.store.get("models/000000/model.safetensors").data
    cycle.store.put("models/000000/model.safetensors", data[:-1] + bytes([data[-1] ^ 1]))
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_base_model"


def test_a_manifest_with_another_digest_is_not_believed(cycle: Cycle) -> None:
    cycle.store.put(keys.manifest(0), cycle.store.get(keys.manifest(0)).data + b"\n")
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_base_model"


def test_a_base_model_with_a_pickle_is_refused(cycle: Cycle, tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "pickled")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    cycle.base = store_model(cycle.store, 0, folder)
    cycle.store_sets({("train-errors", "train_errors"): cycle.clips("e", 2)})
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_base_model"


def test_a_base_model_with_missing_weights_is_refused(cycle: Cycle, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_tiny_model(tmp_path / "holed")
    weights = load_file(folder / "model.safetensors")
    del weights["wav2vec2.encoder.layers.0.attention.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    cycle.base = store_model(cycle.store, 0, folder)
    cycle.store_sets({("train-errors", "train_errors"): cycle.clips("e", 2)})
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_base_model"
    assert "q_proj" in str(cycle.outbox.events[0]["detail"])


def test_a_malformed_spec_is_told(cycle: Cycle) -> None:
    cycle.store.put(keys.spec(1), b"{}")
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_spec"


def test_clips_with_another_digest_are_not_used(cycle: Cycle) -> None:
    key = keys.clips(1, "holdout")
    cycle.store.put(key, cycle.store.get(key).data.replace(b"abba", b"baba"))
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_dataset"


def test_a_clip_that_judges_and_trains_fails_the_run(cycle: Cycle) -> None:
    both = cycle.clips("e", 2)
    cycle.store_sets({("train-errors", "train_errors"): both, ("holdout", "judge"): both[:1]})
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "bad_dataset"


def test_replay_alone_is_nothing_to_learn_from(cycle: Cycle) -> None:
    cycle.store_sets({("train-errors", "train_errors"): [cycle.bad_clip("e-bad")], ("train-replay", "train_replay"): cycle.clips("r", 2)})
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "no_trainable_clips"


def test_a_store_that_is_away_is_told(cycle: Cycle) -> None:
    def away(operation: str, key: str) -> None:
        if operation == "get" and key.startswith("e"):
            raise Retryable("the bucket is away")

    cycle.memory.before = away
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "store_unavailable"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ZeroDivisionError("oops"), "internal"),
    ],
)
def test_what_goes_wrong_has_a_type(cycle: Cycle, error: Exception, reason: str) -> None:
    def broken(_folder: Path, _clips: Sequence[Path]) -> list[str]:
        raise error

    assert cycle.run(smoke=broken) == Ending.FAILED
    assert cycle.failure() == reason


def test_an_export_that_hears_something_else_is_not_uploaded(cycle: Cycle) -> None:
    assert cycle.run(smoke=lambda _folder, clips: ["something else"] * len(clips)) == Ending.FAILED
    assert cycle.failure() == "smoke_test_failed"
    assert list(cycle.store.list(keys.model(1))) == []


@pytest.mark.parametrize(
    ("found", "same"), [(["a" * 99, "b"], True), (["a" * 98, "b"], True), (["a" * 90, "b"], False), (["a" * 99], False)]
)
def test_a_character_at_the_edge_may_tip_over_in_another_process(found: list[str], *, same: bool) -> None:
    with nullcontext() if same else pytest.raises(RunFailed):
        check_same_transcripts(["a" * 99, "b"], found)


def test_a_loss_that_is_not_finite_is_told(tmp_path: Path) -> None:
    cycle = Cycle(tmp_path, config=CONFIG.model_copy(update={"learning_rate": 1e30, "epochs": 3}))
    assert cycle.run() == Ending.FAILED
    assert cycle.failure() == "diverged"
