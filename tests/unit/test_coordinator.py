"""The guide's coordinator over a folder, without torch: a stand-in trains and hears what the tests say."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.coordinator import DataManager, FinetuningConfig, FinetuningCoordinator, TrainedModel, TrainingJob
from infra.corpora.source import Converted
from infra.errors import Refused, Unreachable
from infra.local.state_folder import only_one_in
from infra.processes import ROOT, environment
from shared import keys
from shared.cycle import Status
from shared.documents import parse_document
from shared.errors import InvalidMessage
from shared.manifest import ModelManifest
from shared.policy import CanaryPolicy, Policy, SuitePolicy, ValidationPolicy

QUICK = Policy(min_trainable_clips=1, cooldown_s=0.0)
CONFIG = FinetuningConfig(min_error_cases=60, auto_approve_finetuning=True, policy=QUICK)
CALLERS = 80
SAID, MISHEARD = "fall back", "call back"


def convert(_source: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"first weights")
    return {}


@dataclass
class StandIn:
    """Trains nothing; the model that it gives hears everything rightly, or with `bad` nothing."""

    bad: bool = False
    jobs: list[TrainingJob] = field(default_factory=list)

    def __call__(self, job: TrainingJob) -> TrainedModel:
        self.jobs.append(job)
        (job.output_dir / "model.safetensors").write_bytes(b"trained weights")
        return TrainedModel(job.output_dir, lambda _audio: "something else" if self.bad else SAID, notes={"by": "the tests"})


def hear_as_production(audio: Path) -> str:
    return MISHEARD if b"error" in audio.read_bytes() else SAID


def coordinator(folder: Path, config: FinetuningConfig = CONFIG) -> FinetuningCoordinator:
    return FinetuningCoordinator(data_manager=DataManager(use_gcs=False, directory=folder / "data"), config=config)


def report(folder: Path, data: DataManager, count: int, name: str = "") -> None:
    """Report errors of so many callers, and as many calls of theirs that were right, drawn from all."""
    for number in range(count):
        for kind, heard in (("error", MISHEARD), ("sample", SAID)):
            audio = folder / f"{kind}-{name}{number}.wav"
            audio.write_bytes(f"{kind} {name}{number}".encode())
            speaker = f"{name}{number}"
            if kind == "error":
                data.report_error(audio, heard, reference=SAID, speaker_id=speaker)
            else:
                data.report_sample(audio, heard, sample_rate=1.0, speaker_id=speaker)


def ready(folder: Path, config: FinetuningConfig = CONFIG, trains: StandIn | None = None) -> FinetuningCoordinator:
    """Return a coordinator with a stable model and enough errors."""
    data = DataManager(directory=folder / "data")
    data.store.put(keys.SPLIT_KEY, b"a key that tests share")  # the same callers judge in every run
    made = coordinator(folder, config)
    made.deployer.import_model("nowhere", convert=convert)
    report(folder, data, CALLERS)
    made.set_training_callback(trains or StandIn())
    made.set_baseline_transcribe_function(hear_as_production)
    return made


def printed(show: Any) -> str:
    console = Console(width=200, record=True, file=None, quiet=False, stderr=True)
    show(console)
    return console.export_text()


def test_importing_it_brings_no_torch() -> None:
    code = "import sys, infra.coordinator; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    made = coordinator(tmp_path)
    assert "No model is stable" in printed(made.print_status)
    decided = made.orchestrator.check_trigger_conditions()
    assert decided["should_trigger"] is False
    assert any("no model is stable yet" in reason for reason in decided["reasons"])
    assert decided["metrics"]["errors"] == 0
    made.set_training_callback(StandIn())
    workflow = made.run_complete_workflow(force_trigger=True)
    assert (workflow.status, workflow.cycle, workflow.validation) == ("not_triggered", None, None)
    assert "no model is stable yet" in workflow.reasons[0]
    assert made.deployer.rollback().outcome == "refused"


def test_enough_errors_trigger_with_reasons_and_exact_numbers(tmp_path: Path) -> None:
    decided = ready(tmp_path).orchestrator.check_trigger_conditions()
    assert decided["should_trigger"] is True
    assert decided["reasons"] == ["80 errors, at least 60 wanted", "80 corrected errors, at least 50 wanted"]
    assert (decided["metrics"]["errors"], decided["metrics"]["samples"], decided["metrics"]["speakers"]) == (80, 80, 80)


def test_reporting_alone_opens_no_cycle(tmp_path: Path) -> None:
    assert ready(tmp_path).orchestrator.running() is None


def test_a_workflow_trains_judges_and_deploys_and_a_rollback_takes_it_back(tmp_path: Path) -> None:
    trains = StandIn()
    made = ready(tmp_path, trains=trains)
    workflow = made.run_complete_workflow(auto_deploy=True)
    assert (workflow.status, workflow.cycle, workflow.deployed) == (Status.DEPLOYED, 1, True), workflow.reasons
    assert workflow.validation is not None
    assert (workflow.validation.passed, workflow.validation.failure_reason) == (True, None)
    assert workflow.validation.baseline_wer is not None
    assert workflow.validation.model_wer is not None
    assert workflow.validation.model_wer.estimate == 0.0 < workflow.validation.baseline_wer.estimate
    assert made.deployer.production.stable == 1
    assert "v1" in printed(made.deployer.print_status)
    (job,) = trains.jobs
    assert len(job.train) + len(job.dev) > 50
    assert {clip.reference for clip in job.train} == {SAID}
    assert made.deployer.rollback(reason="the tests say so").outcome == "accepted"
    assert (made.deployer.production.stable, made.deployer.production.withdrawn) == (0, (1,))


def test_what_was_measured_is_what_the_two_functions_heard(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.run_complete_workflow()
    store = DataManager(directory=tmp_path / "data").store
    manifest = parse_document(ModelManifest, store.get(keys.manifest(1)).data, what="manifest")
    assert (manifest.details["trained_by"], manifest.details["notes"]) == ("a callback", {"by": "the tests"})
    holdout = made.validator.validate(1).report.sets[0]
    # each caller of the holdout was heard wrongly in one of two calls: one of two words
    assert holdout.base.substitutions == holdout.utterances / 2
    assert holdout.candidate.substitutions == 0
    assert made.validator.recompute(1).report.sets == made.validator.validate(1).report.sets


def test_a_worse_model_is_rejected_with_its_reason_and_auto_deploy_deploys_nothing(tmp_path: Path) -> None:
    made = ready(tmp_path, trains=StandIn(bad=True))
    workflow = made.run_complete_workflow(auto_deploy=True)
    assert workflow.status == Status.REJECTED
    assert workflow.deployment is None
    assert made.validator.validate().failure_reason == "The candidate is refused because it transcribes worse than the model in production."
    assert made.deployer.production.stable == 0


def test_without_auto_deploy_an_accepted_model_waits_and_a_later_call_deploys_it(tmp_path: Path) -> None:
    trains = StandIn()
    made = ready(tmp_path, trains=trains)
    assert made.run_complete_workflow().status == Status.ACCEPTED
    assert made.deployer.production.stable == 0
    again = coordinator(tmp_path)  # another process, another day
    again.set_training_callback(trains)
    assert again.run_complete_workflow(auto_deploy=True).status == Status.DEPLOYED
    assert len(trains.jobs) == 1


def test_where_the_policy_wants_a_canary_it_serves_its_share_first(tmp_path: Path) -> None:
    made = ready(tmp_path, CONFIG.model_copy(update={"policy": QUICK.model_copy(update={"canary": CanaryPolicy(percent=20)})}))
    assert made.run_complete_workflow(auto_deploy=True).status == Status.CANARY
    production = made.deployer.production
    assert production.canary is not None
    assert (production.stable, production.canary.version, production.canary.percent) == (0, 1, 20)
    (waits,) = made.deployer.watch()
    assert waits.startswith("canary wait: ")
    assert made.deployer.deploy(1).outcome == "accepted"
    assert made.deployer.production.stable == 1


def test_a_cycle_that_wants_approval_waits_for_it(tmp_path: Path) -> None:
    made = ready(tmp_path, FinetuningConfig(min_error_cases=60, policy=QUICK))
    assert made.run_complete_workflow().status == Status.AWAITING_APPROVAL
    assert made.run_complete_workflow().status == Status.AWAITING_APPROVAL
    assert made.orchestrator.approve(reason="looks right").outcome == "accepted"
    assert made.run_complete_workflow().status == Status.ACCEPTED


def test_force_skips_approval_and_thresholds(tmp_path: Path) -> None:
    made = ready(tmp_path, FinetuningConfig(min_error_cases=100_000, min_corrected_cases=100_000, policy=QUICK))
    assert made.run_complete_workflow().status == "not_triggered"
    assert made.run_complete_workflow(force_trigger=True).status == Status.ACCEPTED


def test_a_callback_that_raises_fails_the_cycle_with_what_it_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def raises(_job: TrainingJob) -> TrainedModel:
        raise RuntimeError("no GPU today")

    made = ready(tmp_path)
    made.set_training_callback(raises)
    workflow = made.run_complete_workflow()
    assert workflow.status == Status.FAILED
    assert "RuntimeError: no GPU today" in workflow.reasons[0]
    assert "no GPU today" in capfd.readouterr().err


@pytest.mark.parametrize("given", [None, "/nowhere/at/all"])
def test_a_callback_that_returns_no_model_fails_the_cycle(tmp_path: Path, given: Any) -> None:
    made = ready(tmp_path)
    made.set_training_callback(lambda _job: given)
    workflow = made.run_complete_workflow()
    assert workflow.status == Status.FAILED
    assert "expected a TrainedModel or the path of a model folder" in workflow.reasons[0]


def test_an_interrupted_workflow_goes_on_with_its_next_attempt(tmp_path: Path) -> None:
    def interrupted(_job: TrainingJob) -> TrainedModel:
        raise KeyboardInterrupt

    made = ready(tmp_path)
    made.set_training_callback(interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.run_complete_workflow()
    trains = StandIn()
    again = coordinator(tmp_path)
    again.set_training_callback(trains)
    again.set_baseline_transcribe_function(hear_as_production)
    assert again.run_complete_workflow().status == Status.ACCEPTED
    assert [job.attempt for job in trains.jobs] == [2]


def test_an_attempt_that_finds_the_model_of_one_before_it_fails_before_it_trains(tmp_path: Path) -> None:
    made, trains = ready(tmp_path), StandIn()

    def dies_before_its_result(_job: TrainingJob) -> TrainedModel:
        DataManager(directory=tmp_path / "data").store.put(keys.manifest(1), b"{}")
        raise KeyboardInterrupt

    made.set_training_callback(dies_before_its_result)
    with pytest.raises(KeyboardInterrupt):
        made.run_complete_workflow()
    made.set_training_callback(trains)
    workflow = made.run_complete_workflow()
    assert workflow.status == Status.FAILED
    assert "models/000001/manifest.json: expected none yet, found that of an attempt that ended early" in workflow.reasons[0]
    assert trains.jobs == []


def test_a_clip_whose_audio_is_gone_is_left_out_and_counted(tmp_path: Path) -> None:
    trains = StandIn()

    def lose_one(job: TrainingJob) -> TrainedModel:
        return trains(job)

    made = ready(tmp_path)
    data = DataManager(directory=tmp_path / "data")
    calls = data.open_store("gs://retune-folder-calls")
    made.set_training_callback(lose_one)
    opened, _ = made.orchestrator.open(force=True)
    assert opened is not None
    for info in calls.list(""):
        if b"error 7" in calls.get(info.key).data:
            calls.delete(info.key)
    made.run_complete_workflow()
    left_out = made.validator.validate(1).report.left_out
    assert sum(reasons.get("missing", 0) for reasons in left_out.values()) >= 1


def test_errors_of_a_cycle_that_came_to_nothing_are_carried_into_the_next(tmp_path: Path) -> None:
    bad, good = StandIn(bad=True), StandIn()
    made = ready(tmp_path, trains=bad)
    made.run_complete_workflow()
    made.set_training_callback(good)
    assert made.run_complete_workflow().status == "not_triggered"
    assert made.run_complete_workflow(force_trigger=True).cycle == 2
    assert {clip.utterance_id for clip in good.jobs[0].train} == {clip.utterance_id for clip in bad.jobs[0].train}


def suite_folder(folder: Path) -> Path:
    made = folder / "suite"
    made.mkdir()
    rows = []
    for number in range(40):
        (made / f"{number}.wav").write_bytes(f"suite {number}".encode())
        rows.append({"file": f"{number}.wav", "text": SAID, "speaker_id": f"suite speaker {number}"})
    (made / "transcripts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.mark.parametrize(("bad", "passed"), [(False, True), (True, False)])
def test_a_suite_that_the_policy_names_is_part_of_the_verdict(tmp_path: Path, bad: bool, passed: bool) -> None:
    policy = QUICK.model_copy(update={"validation": ValidationPolicy(suites={"names": SuitePolicy(margin=0.05)})})
    made = ready(tmp_path, CONFIG.model_copy(update={"policy": policy}), StandIn(bad=bad))
    tester = made.regression_tester
    tester.add_suite("others", suite_folder(tmp_path), convert=lambda data: Converted(data, 1.0))
    tester.add_suite("names", tmp_path / "suite", convert=lambda data: Converted(data, 1.0))
    assert [(view.name, view.named) for view in tester.list_suites()] == [("names", True), ("others", False)]
    with pytest.raises(Refused, match="no model was judged yet"):
        tester.run()
    made.run_complete_workflow()
    judged, other = tester.run()
    assert (judged.suite, judged.passed, judged.margin) == ("names", passed, 0.05)
    assert judged.baseline_wer is not None
    assert judged.baseline_wer.estimate == 0.0
    assert (other.suite, other.passed, other.finding) == ("others", None, "the verdict did not use it")
    assert [look.version for look in tester.history("names").looks] == [1]


def test_the_status_says_what_to_do_next_in_python(tmp_path: Path) -> None:
    made = coordinator(tmp_path, FinetuningConfig(min_error_cases=60, policy=QUICK))
    assert "In Python: coordinator.deployer.import_model(" in printed(made.print_status)
    ready_now = ready(tmp_path, FinetuningConfig(min_error_cases=60, policy=QUICK))
    assert "In Python" not in printed(ready_now.print_status)
    ready_now.run_complete_workflow()
    assert "In Python: coordinator.orchestrator.approve(reason=...)" in printed(ready_now.print_status)
    ready_now.orchestrator.approve()
    assert "In Python: coordinator.run_complete_workflow() carries it on" in printed(ready_now.print_status)
    ready_now.run_complete_workflow()
    assert "In Python: coordinator.deployer.deploy(1)" in printed(ready_now.print_status)


def test_a_cancelled_cycle_ends_and_its_errors_go_into_the_next(tmp_path: Path) -> None:
    made = ready(tmp_path, FinetuningConfig(min_error_cases=60, policy=QUICK))
    made.run_complete_workflow()
    assert made.orchestrator.cancel(reason="not now").outcome == "accepted"
    assert made.orchestrator.running() is None
    workflow = made.run_complete_workflow(force_trigger=True)
    assert (workflow.cycle, workflow.status) == (2, Status.ACCEPTED)


def test_the_page_of_a_verdict_can_be_kept(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.run_complete_workflow()
    assert "PASS" in made.validator.save_report(tmp_path / "report.html").read_text()


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    made = ready(tmp_path)
    with only_one_in(tmp_path / "data"), pytest.raises(Unreachable, match=r"another process works there .* choose another directory"):
        made.run_complete_workflow()


def test_audio_may_only_lie_where_the_data_manager_keeps_it(tmp_path: Path) -> None:
    data = DataManager(directory=tmp_path / "data")
    with pytest.raises(InvalidMessage, match="expected an address under an allowed prefix"):
        data.report_error("gs://elsewhere/a.wav", MISHEARD, model_version=0)
    with pytest.raises(Refused, match="model_version: expected one, since no model is stable"):
        data.report_error("gs://elsewhere/a.wav", MISHEARD)
    with pytest.raises(TypeError, match="found speaker"):
        data.report_error("gs://elsewhere/a.wav", MISHEARD, model_version=0, speaker="s1")
    assert data.statistics().errors == 0


def test_a_later_correction_makes_an_error_trainable(tmp_path: Path) -> None:
    data = DataManager(directory=tmp_path / "data")
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"audio")
    utterance = data.report_error(audio, MISHEARD, model_version=0)
    data.report_correction(utterance, SAID)
    data.report_traffic(50, 60.0, model_version=0)
    totals = data.statistics()
    assert (totals.errors, totals.corrected, totals.utterances_by_version) == (1, 1, {0: 50})


def test_a_model_comes_out_as_it_was_trained(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.run_complete_workflow()
    made.deployer.download(1, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == b"trained weights"
    with pytest.raises(Refused, match="v9"):
        made.deployer.download(9, tmp_path / "nothing")


def test_contradicting_arguments_are_refused(tmp_path: Path) -> None:
    data = DataManager(use_gcs=False, directory=tmp_path)
    with pytest.raises(Refused, match="use_gcs: expected False"):
        FinetuningCoordinator(data_manager=data, use_gcs=True)
    with pytest.raises(Refused, match="project_id: expected none with use_gcs=False"):
        FinetuningCoordinator(data_manager=data, project_id="somewhere")


def test_a_bucket_needs_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETUNE_BUCKET", raising=False)
    with pytest.raises(Unreachable, match="RETUNE_BUCKET: not set"):
        FinetuningCoordinator(data_manager=DataManager(use_gcs=True, directory=tmp_path))
