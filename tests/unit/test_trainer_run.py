"""Whole runs on a tiny random model: each test reads as a history of one cycle."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared import keys
from shared.audio_source import AudioSource
from shared.bus import Outgoing
from shared.cas import find
from shared.cycle import CODEC, CycleState, Status, move
from shared.dir_store import DirStore
from shared.errors import Retryable
from shared.objectstore import ObjectStore
from shared.testing.clock import START, FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import (
    Clip,
    EpochFigures,
    EvaluationRow,
    Heartbeat,
    LoraConfig,
    ModelManifest,
    RunProgress,
    SetRole,
    TrainingConfig,
    TrainingResult,
    completed_event,
    parse_document,
    parse_lines,
    sha256_hex,
)
from trainer.attempt.run import Ending, run
from trainer.attempt.smoke import check_same_transcripts, transcribe_in_fresh_process
from trainer.attempt.work import Dependencies
from trainer.learning.settings import config_sha256
from trainer.recogniser import Recogniser
from trainer.shell.failures import RunFailed, RunPreempted, RunStopped
from trainer.shell.heartbeat import HeartbeatThread
from trainer.shell.progress import SHOWN_EPOCHS, Progress
from trainer.testing import Outbox, store_cycle, store_model, stored_clip, tones, wav_bytes, write_tiny_model

pytestmark = pytest.mark.torch

SPEC = "gs://retune/cycles/000001/spec.json"
WORDS = ["abba", "cede", "fig", "hotellet", "jak lom", "nop"]
CONFIG = TrainingConfig(epochs=1, batch_size=4, lora=LoraConfig(rank=4, alpha=8), lambdas=(1.0, 0.5))
WEIGHTS = "models/000001/model.safetensors"
COMPLETE = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"}


def in_this_process(folder: Path, clips: Sequence[Path]) -> list[str]:
    """Stand in for the fresh process, which is slow to start and has tests of its own."""
    import soundfile

    return Recogniser.load(folder, "cpu").transcribe([soundfile.read(clip, dtype="float32")[0] for clip in clips])


class Cycle:
    """Cycle 1 in a store, ready to train."""

    def __init__(self, folder: Path, store: ObjectStore | None = None, config: TrainingConfig = CONFIG) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.store = store or MemoryStore()
        self.memory = self.store if isinstance(self.store, MemoryStore) else MemoryStore()
        self.outbox = Outbox()
        self.clock = FakeClock()
        self.lives = 0
        self.base = store_model(self.store, 0, write_tiny_model(folder / "made"), learned=())
        self.store_sets(
            {
                ("train-errors", "train_errors"): self.clips("e", 6),
                ("train-replay", "train_replay"): self.clips("r", 8),
                ("dev-errors", "dev_errors"): self.clips("d", 3),
                ("dev-replay", "dev_replay"): self.clips("q", 3),
                ("holdout", "judge"): [*self.clips("h", 4), self.bad_clip("h-bad")],
                ("suite-plain", "judge"): self.clips("s", 2),
            },
            config,
        )

    def clips(self, prefix: str, number: int) -> list[Clip]:
        return [stored_clip(self.store, f"{prefix}{i}", WORDS[i % len(WORDS)]) for i in range(number)]

    def bad_clip(self, name: str) -> Clip:
        return stored_clip(self.store, name, "eight", audio=wav_bytes(tones("eight"), 8_000))

    def store_sets(self, sets: dict[tuple[str, SetRole], list[Clip]], config: TrainingConfig = CONFIG) -> None:
        self.spec = store_cycle(self.store, sets, self.base, config)

    def run(
        self,
        attempt: int = 1,
        smoke: Callable[[Path, Sequence[Path]], list[str]] = in_this_process,
        hear_base: Callable[[Path], str] | None = None,
    ) -> Ending:
        self.lives += 1
        work_dir = self.folder / f"life-{self.lives}"
        work_dir.mkdir()
        deps = Dependencies(
            store=self.store,
            publisher=self.outbox,
            clock=self.clock,
            work_dir=work_dir,
            audio=lambda prefixes: AudioSource(lambda _uri: self.store, prefixes),
            smoke_test=smoke,
            device=torch.device("cpu"),
            heartbeat_s=0.05,
            hear_base=hear_base,
        )
        return run(SPEC, attempt, deps)

    @property
    def state(self) -> CycleState:
        return CODEC.parse(self.store.get(keys.state(1)).data)

    def move_state(self, status: Status, attempt: int | None = None) -> None:
        moved = move(self.state, status, at=START, by="test", cause="test", attempt=attempt)
        self.store.put(keys.state(1), CODEC.dump(moved))

    @property
    def result(self) -> TrainingResult:
        return parse_document(TrainingResult, self.store.get(keys.result(1)).data, what="result")

    @property
    def manifest(self) -> ModelManifest:
        return parse_document(ModelManifest, self.store.get(keys.manifest(1)).data, what="manifest")

    def failure(self) -> object:
        assert [event["type"] for event in self.outbox.events] == ["TrainingFailed"]
        assert find(self.store, keys.result(1)) is None
        return self.outbox.events[0]["reason"]


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    return Cycle(tmp_path)


def test_a_run_leaves_a_model_its_hypotheses_and_a_result(cycle: Cycle) -> None:
    assert cycle.run() == Ending.COMPLETED
    assert cycle.state.status == Status.TRAINING
    result, manifest = cycle.result, cycle.manifest
    assert cycle.outbox.events == [json.loads(completed_event(result).model_dump_json(exclude_none=True))]
    assert result.manifest.sha256 == sha256_hex(cycle.store.get(keys.manifest(1)).data)
    assert result.spec_sha256 == manifest.spec_sha256 == sha256_hex(cycle.store.get(keys.spec(1)).data)
    assert (manifest.base_version, manifest.learned, manifest.dataset_sha256) == (0, (1,), cycle.spec.dataset.sha256)
    assert cycle.spec.policy is not None
    assert manifest.policy_sha256 == cycle.spec.policy.sha256
    assert {file.name for file in manifest.files} == COMPLETE
    for file in manifest.files:
        assert sha256_hex(cycle.store.get(file.key(keys.model(1))).data) == file.sha256
    assert {trial.scale for trial in result.lambda_trials} == {0.0, 0.5, 1.0}
    assert [(aside.utterance_id, aside.set_name, aside.reason) for aside in result.set_aside] == [("h-bad", "holdout", "wrong_rate")]
    assert [(evaluation.name, evaluation.rows) for evaluation in result.evaluations] == [("holdout", 4), ("suite-plain", 2)]


def test_what_is_learned_is_heard_again_under_its_own_name_and_fetched_once(cycle: Cycle) -> None:
    errors, held_out = cycle.clips("e", 6), cycle.clips("h", 4)
    sets: dict[tuple[str, SetRole], list[Clip]] = {
        ("train-errors", "train_errors"): errors,
        ("holdout", "judge"): held_out,
        ("recheck-learning", "recheck"): errors,
        ("recheck-fixed", "recheck"): held_out[:2],
    }
    cycle.store_sets(sets)
    fetched: list[str] = []
    cycle.memory.before = lambda operation, key: fetched.append(key) if operation == "get" and key.endswith(".wav") else None
    assert cycle.run() == Ending.COMPLETED
    heard = [(evaluation.name, evaluation.rows) for evaluation in cycle.result.evaluations]
    assert heard == [("holdout", 4), ("recheck-learning", 6), ("recheck-fixed", 2)]
    assert sorted(fetched) == sorted({clip.audio.uri.rsplit("/", 1)[1] for clips in sets.values() for clip in clips})


def test_a_result_tells_what_serving_costs_on_the_machine_that_judged(cycle: Cycle) -> None:
    cycle.run()
    figures = cycle.result.serving
    assert figures is not None
    assert figures.smoke_test_passed
    assert figures.audio_s > 0
    assert 0 < figures.base_rtf < 1000
    assert 0 < figures.candidate_rtf < 1000


def test_the_stored_hypotheses_are_what_base_and_candidate_serve(cycle: Cycle, tmp_path: Path) -> None:
    cycle.run()
    (ref, _) = cycle.result.evaluations
    data = cycle.store.get(ref.ref.key).data
    assert sha256_hex(data) == ref.ref.sha256
    rows = parse_lines(EvaluationRow, data, what="rows")
    heard = {}
    for version in (0, 1):
        folder = tmp_path / f"served-{version}"
        folder.mkdir()
        for name in COMPLETE:
            cycle.store.get_to_file(f"{keys.model(version)}{name}", folder / name)
        # one by one, as a server does
        recogniser = Recogniser.load(folder, "cpu")
        heard[version] = [recogniser.transcribe([tones(WORDS[i], seed=sum(f"h{i}".encode()))])[0] for i in range(4)]
    assert [row.utterance_id for row in rows] == ["h0", "h1", "h2", "h3"]
    assert [row.base_hypothesis for row in rows] == heard[0]
    assert [row.candidate_hypothesis for row in rows] == heard[1]


def test_the_manifest_comes_after_the_files_and_the_result_last(cycle: Cycle) -> None:
    written: list[str] = []
    cycle.memory.after = lambda operation, key: written.append(key) if operation in {"put", "put_file"} else None
    cycle.run()
    final = [key for key in written if key.startswith(("models/000001", "runs/000001/result", "runs/000001/evaluation"))]
    assert final[-2:] == [keys.manifest(1), keys.result(1)]
    assert final[0].startswith("runs/000001/evaluation/holdout-")
    assert len(final) == 2 + len(COMPLETE) + 2


def test_the_train_log_and_a_heartbeat_are_kept(cycle: Cycle) -> None:
    cycle.run()
    lines = [json.loads(line) for line in cycle.store.get(keys.train_log(1, 1)).data.splitlines()]
    assert {"phase", "dataset", "step", "scale", "chosen"} <= {line["event"] for line in lines}
    beat = parse_document(Heartbeat, cycle.store.get(keys.heartbeat(1)).data, what="heartbeat")
    assert (beat.cycle, beat.attempt) == (1, 1)


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


def test_the_same_spec_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = (Cycle(tmp_path / name) for name in ("one", "two"))
    assert first.run() == second.run() == Ending.COMPLETED
    assert first.store.get(WEIGHTS).data == second.store.get(WEIGHTS).data
    other = Cycle(tmp_path / "three", config=CONFIG.model_copy(update={"seed": 1}))
    other.run()
    assert other.store.get(WEIGHTS).data != first.store.get(WEIGHTS).data


def test_a_run_on_a_folder_with_the_real_smoke_test(tmp_path: Path) -> None:
    cycle = Cycle(tmp_path, store=DirStore(tmp_path / "store"))
    assert cycle.run(smoke=transcribe_in_fresh_process) == Ending.COMPLETED
    assert cycle.result.attempt == 1


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


def test_the_manifest_says_all_that_the_weights_depend_on(cycle: Cycle) -> None:
    cycle.run()
    details = cycle.manifest.details
    resolved = TrainingConfig.model_validate(details["outcome"]["config"])
    assert resolved == CONFIG.model_copy(update={"learning_rate": pytest.approx(0.48 / 32), "precision": "fp32"})
    assert details["config_sha256"] == config_sha256(resolved)
    assert details["base_manifest_sha256"] == cycle.spec.base.manifest.sha256
    assert details["code"]["version"] == metadata.version("retune")
    assert details["packages"]["torch"] == torch.__version__
    assert details["threads"] == 1


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


def test_a_run_without_dev_and_judges_is_still_a_run(cycle: Cycle) -> None:
    cycle.store_sets({("train-errors", "train_errors"): cycle.clips("e", 3)})
    assert cycle.run() == Ending.COMPLETED
    assert cycle.result.scale == 1.0
    assert "no clean dev clips" in cycle.result.train["scale_reason"]
    assert cycle.result.evaluations == ()


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


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_run(cycle: Cycle) -> None:
    def away(operation: str, key: str) -> None:
        if operation == "put" and key == keys.heartbeat(1):
            raise Retryable("away")

    cycle.memory.before = away
    assert cycle.run() == Ending.COMPLETED


def test_the_heartbeat_is_the_ear_of_the_run(tmp_path: Path) -> None:
    cycle = Cycle(tmp_path)
    progress = Progress(tmp_path / "log.jsonl", cycle.clock)
    heartbeat = HeartbeatThread(cycle.store, 1, 1, progress, cycle.clock, interval_s=1.0)
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


def test_whoever_starts_a_run_may_say_what_the_base_hears(cycle: Cycle) -> None:
    assert cycle.run(hear_base=lambda path: f"heard in {path.stat().st_size} bytes") is Ending.COMPLETED
    (holdout,) = (each for each in cycle.result.evaluations if each.name == "holdout")
    rows = parse_lines(EvaluationRow, cycle.store.get(holdout.ref.key).data, what="rows")
    audio = {row.utterance_id: len(cycle.store.get(f"{row.utterance_id}.wav").data) for row in rows}
    assert [row.base_hypothesis for row in rows] == [f"heard in {audio[row.utterance_id]} bytes" for row in rows]
    assert cycle.result.train["base_heard_by"] == "whoever started the run"
