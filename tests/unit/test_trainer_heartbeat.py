"""What a run shows while it works, and what it hears."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared import keys
from shared.cycle import Status
from shared.documents import parse_document
from shared.errors import Retryable
from shared.training import EpochFigures, Heartbeat, RunProgress
from tests.trainer_cycle import Cycle
from trainer.shell.attempt import Attempt
from trainer.shell.carry import Ending
from trainer.shell.failures import RunStopped
from trainer.shell.heartbeat import HeartbeatThread
from trainer.shell.progress import SHOWN_EPOCHS, Progress

pytestmark = pytest.mark.torch


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    return Cycle(tmp_path)


def test_people_are_told_loss_epochs_and_the_time_left(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "log.jsonl", Cycle(tmp_path).clock, bars=False)
    with progress.counting("training", 9, done=3) as advance:
        assert progress.learned.left_s is None, "what an earlier attempt did tells no speed"
        advance()
        left_s = progress.learned.left_s
        assert left_s is not None
        advance()
        assert progress.position.done == 5
    epochs = [EpochFigures(epoch=number, loss=1.0 / number) for number in range(1, SHOWN_EPOCHS + 3)]
    progress.note_loss(0.5)
    progress.note_epochs(epochs)
    assert (progress.learned.loss, progress.learned.epochs) == (0.5, tuple(epochs[2:]))


def test_the_heartbeat_is_the_ear_of_the_run(tmp_path: Path) -> None:
    cycle = Cycle(tmp_path)
    progress = Progress(tmp_path / "log.jsonl", cycle.clock)
    heartbeat = HeartbeatThread(Attempt(cycle.store, cycle.outbox, cycle.clock, 1, 1, progress))
    cycle.move_state(Status.TRAINING)
    progress.enter("training", total=7)
    heartbeat.beat()
    progress.check()
    beat = parse_document(Heartbeat, cycle.store.get(keys.heartbeat(1)).data, what="heartbeat")
    assert (beat.phase, beat.done, beat.total) == ("training", 0, 7)
    shown = parse_document(RunProgress, cycle.store.get(keys.progress(1)).data, what="progress")
    assert (shown.at, shown.phase, shown.left_s, shown.loss, shown.epochs) == (beat.at, "training", None, None, ())
    cycle.move_state(Status.INTERRUPTED)
    cycle.move_state(Status.PREPARING, attempt=2)
    cycle.move_state(Status.TRAINING)
    before = cycle.store.get(keys.heartbeat(1)).info.generation
    heartbeat.beat()
    assert cycle.store.get(keys.heartbeat(1)).info.generation == before
    with pytest.raises(RunStopped, match="attempt 2 is at work"):
        progress.check()


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_run(cycle: Cycle) -> None:
    def away(operation: str, key: str) -> None:
        if operation == "put" and key == keys.heartbeat(1):
            raise Retryable("away")

    cycle.memory.before = away
    assert cycle.run() == Ending.COMPLETED


def test_the_train_log_and_a_heartbeat_are_kept(cycle: Cycle) -> None:
    cycle.run()
    lines = [json.loads(line) for line in cycle.store.get(keys.train_log(1, 1)).data.splitlines()]
    assert {"phase", "dataset", "step", "scale", "chosen"} <= {line["event"] for line in lines}
    beat = parse_document(Heartbeat, cycle.store.get(keys.heartbeat(1)).data, what="heartbeat")
    assert (beat.cycle, beat.attempt) == (1, 1)
