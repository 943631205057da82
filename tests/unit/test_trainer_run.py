"""Whole runs on a tiny random model: what they leave behind."""

import json
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared import keys
from shared.cycle import Status
from shared.dir_store import DirStore
from shared.documents import parse_lines, sha256_hex
from shared.training import Clip, EvaluationRow, SetRole, TrainingConfig, completed_event
from tests.trainer_cycle import COMPLETE, CONFIG, WEIGHTS, WORDS, Cycle
from trainer.attempt.smoke import transcribe_in_fresh_process
from trainer.learning.identity import config_sha256
from trainer.recogniser import Recogniser
from trainer.shell.carry import Ending
from trainer.testing import tones

pytestmark = pytest.mark.torch


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


def test_a_run_without_dev_and_judges_is_still_a_run(cycle: Cycle) -> None:
    cycle.store_sets({("train-errors", "train_errors"): cycle.clips("e", 3)})
    assert cycle.run() == Ending.COMPLETED
    assert cycle.result.scale == 1.0
    assert "no clean dev clips" in cycle.result.train["scale_reason"]
    assert cycle.result.evaluations == ()


def test_whoever_starts_a_run_may_say_what_the_base_hears(cycle: Cycle) -> None:
    assert cycle.run(hear_base=lambda path: f"heard in {path.stat().st_size} bytes") is Ending.COMPLETED
    (holdout,) = (each for each in cycle.result.evaluations if each.name == "holdout")
    rows = parse_lines(EvaluationRow, cycle.store.get(holdout.ref.key).data, what="rows")
    audio = {row.utterance_id: len(cycle.store.get(f"{row.utterance_id}.wav").data) for row in rows}
    assert [row.base_hypothesis for row in rows] == [f"heard in {audio[row.utterance_id]} bytes" for row in rows]
    assert cycle.result.train["base_heard_by"] == "whoever started the run"
