"""A training that is killed, preempted or short of memory ends with the weights of one that was not."""

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared.errors import CommitUnknown, Retryable
from shared.objectstore import ObjectInfo, ObjectStore
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import Augmentation, LoraConfig, SetRole, SpecAugment, TrainingConfig
from trainer.clips.load import UsableClip
from trainer.clips.sets import TrainingSets
from trainer.learning.checkpoint import Checkpoints
from trainer.learning.dev import DevWer
from trainer.learning.train import TrainingRun, Tuned, train
from trainer.network.model import AcousticModel, load_model
from trainer.shell.failures import RunFailed, RunPreempted, RunStopped
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress
from trainer.testing import usable_clips, write_tiny_model

pytestmark = pytest.mark.torch

PREFIX = "runs/000001/checkpoints/"
CONFIG = TrainingConfig(
    epochs=3,
    batch_size=2,
    learning_rate=1e-2,
    lora=LoraConfig(rank=4, alpha=8, dropout=0.1),
    checkpoint_interval_s=1e-9,  # after every step
    average_checkpoints=2,
    spec_augment=SpecAugment(time_share=0.2, time_frames=2),
    augmentation=Augmentation(share=0.5),
)
ERRORS = ["hotellet", "gob", "jak lom", "abba", "cede"]
STEPS = 12  # eight clips in pairs, three times


class Killed(BaseException):
    """Nobody may catch it, as nobody catches SIGKILL."""


class Laptop:
    """A base model, clips and a store that outlive every process."""

    def __init__(self, folder: Path, config: TrainingConfig = CONFIG) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        self.config = config
        self.store: ObjectStore = MemoryStore()
        self.base = write_tiny_model(folder / "base")
        self.lives = 0

    def sets(self, model: AcousticModel) -> TrainingSets:
        def load(prefix: str, texts: Sequence[str], role: SetRole) -> list[UsableClip]:
            named = {f"{prefix}{number}": text for number, text in enumerate(texts)}
            return usable_clips(model, self.folder, named, role=role, config=self.config)

        return TrainingSets(
            load("e", ERRORS, "train_errors"),
            load("r", ["fig", "nop", "abe"], "train_replay"),
            load("d", ["hot", "jam"], "dev_errors"),
            load("q", ["fog"], "dev_replay"),
        )

    def train(self, prepare: Callable[[AcousticModel], None] = lambda _model: None, **run: Any) -> Tuned:
        self.lives += 1
        work_dir = self.folder / f"life-{self.lives}"
        work_dir.mkdir()
        model = load_model(self.base, torch.device("cpu"))
        prepare(model)
        progress = Progress(self.folder / f"log-{self.lives}.jsonl", FakeClock(), bars=False)
        standard = TrainingRun(progress, Checkpoints(self.store, PREFIX, work_dir), base_digest="base")
        return train(model, self.sets(model), self.config, replace(standard, **run))

    def steps_of_life(self, life: int) -> int:
        return (self.folder / f"log-{life}.jsonl").read_text().count('"event": "step"')


def step_of(key: str) -> int:
    return int(key.rsplit("/", 1)[1][:8])


def assert_same_weights(found: Tuned, expected: Tuned) -> None:
    for name, weight in expected.adapted.weights().items():
        assert torch.equal(found.adapted.weights()[name], weight), name


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path)


@pytest.fixture(scope="module")
def straight_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tuned]:
    """Return what trains without a break or a checkpoint: for each config once, as the same spec twice gives the same weights."""

    @cache
    def trained(config: TrainingConfig = CONFIG, **run: Any) -> Tuned:
        return Laptop(tmp_path_factory.mktemp("straight"), config).train(checkpoints=None, **run)

    return trained


def killed_after(steps: int) -> Callable[[AcousticModel], None]:
    """Return what kills the process in the forward pass that follows so many finished steps."""

    def prepare(model: AcousticModel) -> None:
        passes = 0

        def count(_module: object, _inputs: object) -> None:
            nonlocal passes
            if torch.is_grad_enabled():
                passes += 1
            if passes > steps + 1:  # one more for the look at the memory
                raise Killed

        model.network.wav2vec2.encoder.layers[0].register_forward_pre_hook(count)

    return prepare


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("steps", [1, 4, 7, 11])
def test_a_killed_run_resumed_gives_the_weights_of_a_straight_one(
    tmp_path: Path, straight_of: Callable[..., Tuned], method: str, steps: int
) -> None:
    laptop = Laptop(tmp_path, CONFIG.model_copy(update={"method": method, "learning_rate": 3e-3}))
    straight = straight_of(laptop.config, max_padding=1.0)
    with pytest.raises(Killed):
        laptop.train(killed_after(steps), max_padding=1.0)
    resumed = laptop.train(max_padding=1.0)
    assert_same_weights(resumed, straight)
    assert laptop.steps_of_life(1) == steps
    assert laptop.steps_of_life(2) == STEPS - steps
    epochs = [{**record, "train_s": 0.0} for record in resumed.figures["epochs"]]
    assert epochs == [{**record, "train_s": 0.0} for record in straight.figures["epochs"]]


def test_the_same_spec_twice_gives_the_same_weights(laptop: Laptop) -> None:
    assert_same_weights(laptop.train(checkpoints=None), laptop.train(checkpoints=None))


def test_a_finished_training_is_taken_over_without_a_step(laptop: Laptop) -> None:
    straight = laptop.train()
    again = laptop.train()
    assert_same_weights(again, straight)
    assert laptop.steps_of_life(2) == 0
    assert again.figures["chosen"] == straight.figures["chosen"]


def test_checkpoints_are_deleted_but_for_the_newest_two(laptop: Laptop) -> None:
    laptop.train()
    assert [step_of(info.key) for info in laptop.store.list(PREFIX)] == [11, 12]


def test_a_training_of_other_clips_settings_or_base_starts_anew(laptop: Laptop) -> None:
    laptop.train()
    laptop.train(base_digest="another base")
    assert laptop.steps_of_life(2) == STEPS
    laptop.config = CONFIG.model_copy(update={"learning_rate": 2e-2})
    laptop.train()
    assert laptop.steps_of_life(3) == STEPS


def test_a_run_goes_on_from_its_own_checkpoint_though_another_run_left_later_ones(laptop: Laptop) -> None:
    laptop.train()
    laptop.config = CONFIG.model_copy(update={"learning_rate": 2e-2})
    with pytest.raises(Killed):
        laptop.train(killed_after(5), max_padding=1.0)
    resumed = laptop.train(max_padding=1.0)
    assert laptop.steps_of_life(3) == STEPS - 5
    assert_same_weights(resumed, laptop.train(checkpoints=None, max_padding=1.0))


def test_a_corrupt_checkpoint_is_passed_over(laptop: Laptop, straight_of: Callable[..., Tuned]) -> None:
    with pytest.raises(Killed):
        laptop.train(killed_after(5))
    newest = max(info.key for info in laptop.store.list(PREFIX))
    laptop.store.put(newest, b"no safetensors")
    assert_same_weights(laptop.train(), straight_of())


def test_sigterm_leaves_a_last_checkpoint_and_the_next_life_loses_no_step(tmp_path: Path, straight_of: Callable[..., Tuned]) -> None:
    laptop = Laptop(tmp_path, CONFIG.model_copy(update={"checkpoint_interval_s": 3600.0}))
    preemption = Preemption()

    def terminate(model: AcousticModel) -> None:
        passes = 0

        def count(_module: object, _inputs: object) -> None:
            nonlocal passes
            passes += torch.is_grad_enabled()
            if passes == 6:
                preemption.on_signal(signal.SIGTERM, None)

        model.network.wav2vec2.encoder.layers[0].register_forward_pre_hook(count)

    with pytest.raises(RunPreempted):
        laptop.train(terminate, preemption=preemption, max_padding=1.0)
    assert_same_weights(laptop.train(max_padding=1.0), straight_of(max_padding=1.0))
    assert laptop.steps_of_life(1) == 4
    assert laptop.steps_of_life(2) == STEPS - 4


def test_a_run_that_went_between_an_epochs_last_step_and_its_measurement_goes_on(tmp_path: Path, straight_of: Callable[..., Tuned]) -> None:
    laptop = Laptop(tmp_path, CONFIG.model_copy(update={"checkpoint_interval_s": 3600.0}))
    preemption = Preemption()

    def terminate(model: AcousticModel) -> None:
        def on_dev(_module: object, _inputs: object) -> None:
            if not torch.is_grad_enabled():
                preemption.on_signal(signal.SIGTERM, None)

        model.network.wav2vec2.encoder.layers[0].register_forward_pre_hook(on_dev)

    with pytest.raises(RunPreempted):
        laptop.train(terminate, preemption=preemption)
    assert laptop.steps_of_life(1) == STEPS / 3
    assert_same_weights(laptop.train(), straight_of())
    assert laptop.steps_of_life(2) == STEPS - STEPS / 3


def test_a_signal_within_an_optimizer_step_waits_for_its_end() -> None:
    preemption, done = Preemption(), []

    def step() -> None:
        with preemption.held():
            preemption.on_signal(signal.SIGTERM, None)
            done.append("step")

    with pytest.raises(RunPreempted):
        step()
    assert done == ["step"]
    preemption.on_signal(signal.SIGTERM, None)  # the second is not heard


@pytest.mark.parametrize(("interval_s", "steps_kept"), [(3600.0, None), (1e-9, 3)])
def test_all_weights_are_not_stored_at_sigterm_the_last_periodic_checkpoint_counts(
    tmp_path: Path, straight_of: Callable[..., Tuned], interval_s: float, steps_kept: int | None
) -> None:
    config = CONFIG.model_copy(update={"method": "full", "learning_rate": 3e-3})
    laptop = Laptop(tmp_path, config.model_copy(update={"checkpoint_interval_s": interval_s}))
    preemption = Preemption()

    def terminate(_epoch: int, _adapted: object) -> None:
        preemption.on_signal(signal.SIGTERM, None)  # after the fourth step, before its checkpoint

    with pytest.raises(RunPreempted):
        laptop.train(preemption=preemption, on_epoch=terminate)
    assert [step_of(info.key) for info in laptop.store.list(PREFIX)][-1:] == ([steps_kept] if steps_kept else [])
    assert_same_weights(laptop.train(), straight_of(config))
    assert laptop.steps_of_life(2) == STEPS - (steps_kept or 0)


class AwayStore(MemoryStore):
    """A store that takes nothing."""

    def put_file(self, key: str, path: Path, **_options: Any) -> ObjectInfo:
        raise Retryable(f"{key}: the store is away")


def test_a_store_that_is_away_does_not_stop_the_training(laptop: Laptop, straight_of: Callable[..., Tuned]) -> None:
    laptop.store = AwayStore()
    assert_same_weights(laptop.train(), straight_of())


def test_a_run_that_is_no_longer_wanted_stops_between_two_steps(laptop: Laptop) -> None:
    progress = Progress(laptop.folder / "log.jsonl", FakeClock(), bars=False)
    with pytest.raises(RunStopped):
        laptop.train(progress=progress, on_epoch=lambda _epoch, _adapted: progress.interrupt(RunStopped("cancelled")))
    assert (laptop.folder / "log.jsonl").read_text().count('"event": "step"') == 4


def test_time_that_is_up_ends_the_training_and_more_time_goes_on_with_it(tmp_path: Path, straight_of: Callable[..., Tuned]) -> None:
    laptop = Laptop(tmp_path)
    laptop.config = CONFIG.model_copy(update={"max_train_s": 1e-9})
    short = laptop.train()
    assert short.figures["steps"] == 1
    assert short.figures["planned_steps"] == STEPS
    assert_same_weights(laptop.train(), short)
    assert laptop.steps_of_life(2) == 0
    laptop.config = CONFIG
    assert_same_weights(laptop.train(), straight_of())
    assert laptop.steps_of_life(3) == STEPS - 1


def out_of_memory_above(frames: int) -> Callable[[AcousticModel], None]:
    """Return what makes a batch of more than so many frames fail as a full device does."""

    def prepare(model: AcousticModel) -> None:
        def check(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
            if torch.is_grad_enabled() and inputs[0].shape[0] * inputs[0].shape[1] > frames:
                raise torch.OutOfMemoryError(f"tried to allocate {inputs[0].shape}")

        model.network.wav2vec2.encoder.layers[0].register_forward_pre_hook(check)

    return prepare


def test_out_of_memory_halves_the_pieces_and_changes_no_more_than_the_last_digits(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"batch_size": 4, "lora": LoraConfig(rank=4, alpha=8, dropout=0.0)})
    laptop = Laptop(tmp_path, config)
    straight = laptop.train(checkpoints=None, max_padding=1.0)
    small = laptop.train(out_of_memory_above(60), checkpoints=None, max_padding=1.0)
    assert straight.figures["memory_halvings"] == 0
    assert small.figures["memory_halvings"] >= 1
    for name, weight in straight.adapted.weights().items():
        torch.testing.assert_close(small.adapted.weights()[name], weight, atol=2e-4, rtol=1e-3)


def test_a_clip_that_does_not_fit_alone_ends_the_run_with_advice(laptop: Laptop) -> None:
    with pytest.raises(RunFailed, match=r"lower training\.max_duration_s") as caught:
        laptop.train(out_of_memory_above(3))
    assert caught.value.reason == "out_of_memory"


def test_pieces_add_up_to_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 1, "batch_size": 8, "spec_augment": None, "lora": LoraConfig(rank=4, alpha=8, dropout=0)})
    laptop = Laptop(tmp_path, config)
    whole, cut = (laptop.train(checkpoints=None, max_padding=padding).adapted.trained for padding in (1.0, 0.0))  # one piece; one a length
    for name, weight in whole.items():
        assert weight.grad is not None
        torch.testing.assert_close(cut[name].grad, weight.grad, rtol=1e-4, atol=1e-6)


class ScriptedDev:
    """Dev sets whose WER is known beforehand."""

    wers: ClassVar[list[float]] = []

    def __init__(self, *_sets: object) -> None:
        self._left = iter(self.wers)

    def wer(self) -> DevWer:
        return DevWer(errors=next(self._left), replay=None)


@pytest.mark.parametrize(("of_the_mean", "taken"), [(0.2, True), (0.3, False), (0.35, False)])
def test_the_mean_of_the_best_epochs_is_taken_only_where_dev_says_it_is_better(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch, of_the_mean: float, taken: bool
) -> None:
    monkeypatch.setattr(ScriptedDev, "wers", [0.5, 0.4, 0.3, of_the_mean])
    monkeypatch.setattr("trainer.learning.train.DevSets", ScriptedDev)
    seen: list[dict[str, torch.Tensor]] = []
    tuned = laptop.train(checkpoints=None, on_epoch=lambda _epoch, adapted: seen.append(adapted.weights()))
    expected = {name: (seen[1][name] + seen[2][name]) / 2 if taken else seen[2][name] for name in seen[2]}
    for name, weight in tuned.adapted.weights().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-7)
    assert tuned.figures["chosen"].startswith("the mean of epochs [2, 3]" if taken else "epoch 3 of 3")


class SlowStore(MemoryStore):
    """A store whose uploads wait until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def put_file(self, key: str, path: Path, **options: Any) -> ObjectInfo:
        assert self.over.wait(60)
        return super().put_file(key, path, **options)


def test_a_last_checkpoint_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    store = SlowStore()
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    try:
        with pytest.raises(CommitUnknown, match=r"was not stored within 0\.05 s"):
            Checkpoints(store, PREFIX, tmp_path).put_within(0.05, path, "f" * 64, 7)
    finally:
        store.over.set()


def test_what_the_store_says_against_a_last_checkpoint_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    with pytest.raises(Retryable, match="the store is away"):
        Checkpoints(AwayStore(), PREFIX, tmp_path).put_within(60.0, path, "f" * 64, 7)


def test_training_stops_when_dev_gets_no_better_and_takes_the_best_epoch(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 30, "patience": 2, "average_checkpoints": 1, "learning_rate": 1e-5})
    laptop = Laptop(tmp_path, config)
    tuned = laptop.train()  # at such a rate nothing is heard in a few epochs, so the first one is the best
    assert len(tuned.figures["epochs"]) == 3
    assert tuned.figures["chosen"].startswith("epoch 1 of 3: the lowest WER on dev")
