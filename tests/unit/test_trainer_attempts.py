"""Attempts of one cycle after one another, and those that are not wanted: what each does with what it finds."""

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared import keys
from shared.bus import Outgoing
from shared.cas import find
from shared.cycle import Status
from shared.documents import sha256_hex
from shared.errors import Retryable
from tests.trainer_cycle import WEIGHTS, Cycle, in_this_process
from trainer.shell.carry import Ending
from trainer.shell.failures import RunPreempted

pytestmark = pytest.mark.torch


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    return Cycle(tmp_path)


def test_a_finished_cycle_is_left_alone(cycle: Cycle) -> None:
    cycle.run()
    before = {info.key: info.generation for info in cycle.store.list("")}
    assert cycle.run() == Ending.NOTHING_TO_DO
    assert {info.key: info.generation for info in cycle.store.list("")} == before
    assert len(cycle.outbox.events) == 1


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.WAITING_FOR_CAPACITY])
def test_a_cycle_that_wants_no_training_is_left_alone(cycle: Cycle, status: Status) -> None:
    cycle.move_state(status)
    assert cycle.run() == Ending.NOTHING_TO_DO
    assert cycle.outbox.events == []


def test_another_attempt_is_left_alone(cycle: Cycle) -> None:
    assert cycle.run(attempt=2) == Ending.NOTHING_TO_DO
    assert cycle.state.status == Status.PREPARING
    assert cycle.outbox.events == []


def test_the_second_life_of_an_attempt_goes_on(cycle: Cycle) -> None:
    cycle.move_state(Status.TRAINING)
    assert cycle.run() == Ending.COMPLETED


def test_a_run_that_hears_of_its_cancellation_stops_and_says_nothing(cycle: Cycle) -> None:
    def cancel_after_the_first_beat(operation: str, key: str) -> None:
        if operation == "put" and key == keys.heartbeat(1):
            cycle.move_state(Status.CANCELLED)

    cycle.memory.after = cancel_after_the_first_beat
    assert cycle.run() == Ending.STOPPED
    assert cycle.outbox.events == []
    assert find(cycle.store, keys.manifest(1)) is None


def test_a_run_looks_at_the_state_before_it_writes_a_model(cycle: Cycle) -> None:
    def cancel(folder: Path, clips: Sequence[Path]) -> list[str]:
        cycle.move_state(Status.CANCELLED)
        return in_this_process(folder, clips)

    assert cycle.run(smoke=cancel) == Ending.STOPPED
    assert cycle.outbox.events == []
    assert find(cycle.store, keys.manifest(1)) is None
    assert find(cycle.store, keys.result(1)) is None


def test_a_cycle_that_ends_during_the_upload_gets_no_manifest(cycle: Cycle) -> None:
    def cancel(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(keys.model(1)) and cycle.state.status == Status.TRAINING:
            cycle.move_state(Status.CANCELLED)

    cycle.memory.after = cancel
    assert cycle.run() == Ending.STOPPED
    assert [info.key for info in cycle.store.list(keys.model(1))]
    assert find(cycle.store, keys.manifest(1)) is None


def test_files_of_a_dead_attempt_do_not_get_into_the_model(cycle: Cycle) -> None:
    cycle.store.put(WEIGHTS, b"half a model of attempt 1")
    cycle.move_state(Status.TRAINING)
    cycle.move_state(Status.INTERRUPTED)
    cycle.move_state(Status.PREPARING, attempt=2)
    assert cycle.run(attempt=2) == Ending.COMPLETED
    files = {file.name: file for file in cycle.manifest.files}
    weights = files["model.safetensors"]
    assert weights.stored_name == f"{weights.sha256[:32]}-model.safetensors"
    assert sha256_hex(cycle.store.get(weights.key(keys.model(1))).data) == weights.sha256
    assert files["config.json"].stored_name is None
    assert cycle.store.get(WEIGHTS).data == b"half a model of attempt 1"


def test_a_complete_model_without_a_result_is_taken_over(cycle: Cycle) -> None:
    def die_at_the_result(operation: str, key: str) -> None:
        if operation == "put" and key == keys.result(1):
            raise KeyboardInterrupt

    cycle.memory.before = die_at_the_result
    with pytest.raises(KeyboardInterrupt):
        cycle.run()
    cycle.memory.before = lambda _operation, _key: None
    manifest = cycle.store.get(keys.manifest(1))
    cycle.move_state(Status.INTERRUPTED)
    cycle.move_state(Status.PREPARING, attempt=2)
    assert cycle.run(attempt=2) == Ending.COMPLETED
    assert cycle.store.get(keys.manifest(1)).info.generation == manifest.info.generation
    assert cycle.result.manifest.sha256 == sha256_hex(manifest.data)
    assert (cycle.result.attempt, cycle.manifest.details["attempt"]) == (2, 1)
    assert [trial.scale for trial in cycle.result.lambda_trials] == [0.0, 0.5, 1.0]


def test_a_lost_reply_to_an_upload_is_our_own_file(cycle: Cycle) -> None:
    lost = [WEIGHTS, keys.manifest(1), keys.result(1)]

    def lose(operation: str, key: str) -> None:
        if operation in {"put", "put_file"} and key in lost:
            lost.remove(key)
            raise Retryable("reply lost")

    cycle.memory.after = lose
    assert cycle.run() == Ending.COMPLETED
    assert lost == []
    assert all(file.stored_name is None for file in cycle.manifest.files)


def test_a_result_that_cannot_be_announced_stands(cycle: Cycle, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_message: Outgoing) -> str:
        raise Retryable("Pub/Sub is away")

    monkeypatch.setattr(cycle.outbox, "publish", away)
    assert cycle.run() == Ending.COMPLETED
    assert cycle.result.attempt == 1


def test_a_preempted_run_says_so(cycle: Cycle) -> None:
    def taken_away(_folder: Path, _clips: Sequence[Path]) -> list[str]:
        raise RunPreempted("SIGTERM")

    ending = cycle.run(smoke=taken_away)
    assert (ending, ending.exit_code) == (Ending.PREEMPTED, 143)
    assert [(event["type"], event["attempt"]) for event in cycle.outbox.events] == [("TrainingPreempted", 1)]
    assert find(cycle.store, keys.manifest(1)) is None


def test_an_attempt_that_was_preempted_after_training_hands_its_training_on(cycle: Cycle) -> None:
    def taken_away(_folder: Path, _clips: Sequence[Path]) -> list[str]:
        raise RunPreempted("SIGTERM")

    cycle.run(smoke=taken_away)
    assert len(list(cycle.store.list(keys.checkpoints(1)))) == 1
    cycle.move_state(Status.INTERRUPTED)
    cycle.move_state(Status.PREPARING, attempt=2)
    assert cycle.run(attempt=2) == Ending.COMPLETED
    log = (cycle.folder / "life-2" / "train-log.jsonl").read_text()
    assert '"event": "resumed"' in log
    assert '"event": "step"' not in log
    other = Cycle(cycle.folder / "straight")
    other.run()
    weights = [digest.sha256 for each in (cycle, other) for digest in each.manifest.files if digest.name == "model.safetensors"]
    assert weights[0] == weights[1]
