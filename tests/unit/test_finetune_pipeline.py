"""A whole run on tiny models: what is written, what a resumed run takes over, and every way to end early."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import soundfile
import torch
from peft import PeftModel
from rich.console import Console
from transformers import Wav2Vec2ForCTC

from shared.errors import Retryable
from shared.gold import GoldConfig, GoldRecord
from shared.testing.clock import FakeClock
from shared.training import EpochFigures, LambdaTrial, TrainingConfig
from tests.gold_server import MODEL, GoldServer, small_trust
from trainer.finetune.gold import LlmGold, kept_answers
from trainer.finetune.measure import GoldPort, HeardClip
from trainer.finetune.options import Options
from trainer.finetune.pipeline import DONE, PREEMPTED, REFUSED, USAGE, Ports, run_finetune
from trainer.finetune.report import FinetuneReport, TrainingSummary
from trainer.finetune.training import TrainingJob, bearable_rise, cautious, fine_tune
from trainer.network.model import Samples, load_model
from trainer.recogniser import Recogniser
from trainer.shell.failures import RunPreempted
from trainer.shell.progress import Progress
from trainer.testing import tones, wav_bytes, write_tiny_model

pytestmark = pytest.mark.torch

TEXTS = ["go", "jak lom", "abba", "hotellet", "hello", "how are you"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_tiny_model(tmp_path_factory.mktemp("model"), seed=3)  # of its weights one that spells something


@pytest.fixture(scope="module")
def heard(model: Path) -> Callable[[int], str]:
    """Return what the model hears in clip number n."""
    recogniser = Recogniser(load_model(model, torch.device("cpu")))
    return lambda number: recogniser.transcribe([soundfile.read(BytesIO(wav_bytes(sound(number))), dtype="float32")[0]])[0]


def sound(number: int) -> Samples:
    return tones(TEXTS[number % len(TEXTS)], seed=number)


def make_folder(folder: Path, transcripts: Mapping[int, str | None], speakers: int = 6) -> Path:
    """Write a clip for each number, every second one noisy, and a row for each that has a transcript."""
    rows = []
    for number, text in transcripts.items():
        name = f"{'noisy' if number % 2 else 'clean'}/{number:02d}.wav"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(wav_bytes(sound(number)))
        row = {"file": name, "speaker_id": f"s{number // 2 % speakers}"}
        rows.append(row if text is None else row | {"text": text})
    (folder / "transcripts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@dataclass
class CopyingTrainer:
    """Takes the base for what was learned, and remembers what it was to learn from."""

    jobs: list[TrainingJob] = field(default_factory=list)
    fail_with: BaseException | None = None

    def __call__(self, job: TrainingJob) -> TrainingSummary:
        self.jobs.append(job)
        if self.fail_with is not None:
            raise self.fail_with
        shutil.copytree(job.output.base, job.output.model, dirs_exist_ok=True)
        trials = (LambdaTrial(scale=0.0, dev_errors_wer=1.0, dev_replay_wer=None),)
        epochs = (EpochFigures(epoch=1, loss=1.0),)
        return TrainingSummary(config=job.config, scale=1.0, scale_reason="as told", trials=trials, epochs=epochs, figures={"steps": 1})


@dataclass
class Asker:
    """An LLM that answers as told, and remembers of whom it was asked."""

    answer: Callable[[HeardClip], GoldRecord]
    asked: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)

    def __call__(self, asked: Sequence[HeardClip], trusted: Sequence[HeardClip], base: Recogniser, progress: Progress) -> list[GoldRecord]:
        self.asked = [each.utterance_id for each in asked]
        self.trusted = [each.utterance_id for each in trusted]
        return [self.answer(each) for each in asked]


@dataclass
class Bench:
    """Runs with a fake trainer, on a CPU."""

    model: Path
    folder: Path
    root: Path
    trainer: CopyingTrainer = field(default_factory=CopyingTrainer)
    printed: StringIO = field(default_factory=StringIO)

    @property
    def output(self) -> Path:
        return self.root / "out"

    def run(self, llm: GoldPort | None = None, /, **flags: object) -> int:
        values = {"audio_dir": self.folder, "output_dir": self.output, "model": str(self.model)} | flags
        ports = Ports(fine_tune=self.trainer, gold=llm, clock=FakeClock(), console=Console(file=self.printed, width=200, markup=False))
        return run_finetune(Options.model_validate(values), ports)

    def report(self) -> FinetuneReport:
        return FinetuneReport.model_validate_json((self.output / "report.json").read_bytes())

    def lines(self, name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.output / name).read_text().splitlines()]


@pytest.fixture
def bench(model: Path, tmp_path: Path, heard: Callable[[int], str]) -> Bench:
    """Return a folder of 24 clips of six speakers: a third of them the model gets right, the rest wrong."""
    transcripts = {number: heard(number) if number % 3 == 0 else TEXTS[number % len(TEXTS)] for number in range(24)}
    return Bench(model, make_folder(tmp_path / "in", transcripts), tmp_path)


def by_part(bench: Bench) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for row in bench.lines("hypotheses.jsonl"):
        parts.setdefault(str(row["split"]), set()).add(str(row["utterance_id"]))
    return parts


def test_a_run_writes_everything_and_leaves_no_scratch(bench: Bench) -> None:
    assert bench.run() == DONE
    written = {path.name for path in bench.output.iterdir()}
    assert written == {"options.json", "run.json", "model", "train-log.jsonl", "hypotheses.jsonl", "report.json", "report.html"}
    found = bench.report()
    assert found.outcome == "no_clear_difference"  # the candidate is the base
    assert [each.name for each in found.holdout] == ["clean", "noisy", "all"]
    assert found.measured[-1].clips == 24
    assert {digest.name for digest in found.digests} == {"audio folder", "base model.safetensors", "model/model.safetensors"}
    assert "No clear difference" in bench.printed.getvalue()
    assert str(bench.output / "report.html") in bench.printed.getvalue().replace("\n", "")


def test_each_clip_is_in_one_part_and_only_the_holdout_is_heard_again(bench: Bench) -> None:
    bench.run()
    rows = bench.lines("hypotheses.jsonl")
    assert len(rows) == 24
    assert all(("after" in row) == (row["split"] == "holdout") for row in rows)
    assert all(row["after"] == row["before"] for row in rows if row["split"] == "holdout")
    assert set(by_part(bench)) == {"train", "dev", "holdout"}


def test_errors_and_replay_are_of_train_and_dev_is_of_dev(bench: Bench) -> None:
    bench.run()
    (job,) = bench.trainer.jobs
    parts = by_part(bench)
    wrong = {str(row["utterance_id"]) for row in bench.lines("hypotheses.jsonl") if row["before"] != row["reference"]}
    errors, replay, dev_errors, dev_replay = (
        {clip.clip.utterance_id for clip in clips}
        for clips in (job.sets.train_errors, job.sets.train_replay, job.sets.dev_errors, job.sets.dev_replay)
    )
    assert errors == parts["train"] & wrong
    assert replay <= parts["train"] - wrong
    assert dev_errors | dev_replay == parts["dev"]
    assert all(name.startswith("noisy/") for name in dev_errors)
    assert all(name.startswith("clean/") for name in dev_replay)
    assert all(clip.labels for clip in job.sets.train)


def test_a_run_that_was_cut_off_goes_on_with_the_very_same_split(bench: Bench) -> None:
    bench.trainer.fail_with = RunPreempted("SIGTERM")
    assert bench.run() == PREEMPTED
    decided = (bench.output / "run.json").read_bytes()
    bench.trainer.fail_with = None
    assert bench.run(resume=True, max_hours=2.0) == DONE
    assert (bench.output / "run.json").read_bytes() == decided
    first, second = bench.trainer.jobs
    assert [clip.clip for clip in first.sets.train] == [clip.clip for clip in second.sets.train]


def test_a_finished_run_is_shown_again_and_not_repeated(bench: Bench) -> None:
    bench.run()
    before = bench.report()
    assert bench.run(resume=True) == DONE
    assert len(bench.trainer.jobs) == 1
    assert bench.report() == before


def test_a_changed_folder_is_not_gone_on_with(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.trainer.fail_with = KeyboardInterrupt()
    bench.run()
    next((bench.folder / "clean").iterdir()).write_bytes(wav_bytes(sound(99)))
    capsys.readouterr()
    assert bench.run(resume=True) == REFUSED
    assert "expected the audio, transcripts and speakers that the run began with" in capsys.readouterr().err


def test_changed_flags_are_named(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.trainer.fail_with = KeyboardInterrupt()
    bench.run(num_epochs=3)
    capsys.readouterr()
    assert bench.run(resume=True, num_epochs=5, seed=1) == USAGE
    first, second, advice = capsys.readouterr().err.splitlines()
    assert first == "--num-epochs: expected 3 as when the run began, found 5"
    assert second == "--seed: expected 0 as when the run began, found 1"
    assert "another --output-dir" in advice


def test_what_somebody_else_wrote_is_left_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.output.mkdir()
    (bench.output / "thesis.tex").write_text("dear")
    for resume in (False, True):
        assert bench.run(resume=resume) == USAGE
        assert "expected a new or empty folder, found thesis.tex" in capsys.readouterr().err
    assert [path.name for path in bench.output.iterdir()] == ["thesis.tex"]


def test_a_run_is_not_overwritten_and_none_is_not_gone_on_with(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(resume=True) == USAGE
    assert "expected a run" in capsys.readouterr().err
    bench.run()
    assert bench.run() == USAGE
    assert "add --resume" in capsys.readouterr().err


def test_a_run_that_was_refused_may_begin_again_with_other_flags(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(model="no such model") == REFUSED
    assert "expected a folder or the name of a model on the hub" in capsys.readouterr().err
    assert bench.run() == DONE


def test_a_folder_that_contradicts_itself_is_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.folder / "clean" / "00.txt").write_text("something else")
    assert bench.run() == REFUSED
    assert "clean/00.wav: expected one transcript" in capsys.readouterr().err


def ended(bench: Bench, **flags: object) -> tuple[str, str]:
    """Run, expect an early end without training, and return outcome and reason."""
    assert bench.run(**flags) == REFUSED
    assert bench.trainer.jobs == []
    found = bench.report()
    assert found.ended_early
    assert (bench.output / "report.html").exists()
    assert not (bench.output / "work").exists()
    return found.outcome, found.reason


def test_a_folder_in_which_nothing_can_be_heard_ends_with_the_reasons(bench: Bench) -> None:
    for path in bench.folder.rglob("*.wav"):
        path.write_bytes(b"no audio " + path.name.encode())
    assert ended(bench) == ("all_set_aside", "all 24 files were set aside, see the reasons")
    assert len(bench.report().set_aside) == 24


def test_a_folder_without_transcripts_ends_with_what_to_do(bench: Bench) -> None:
    (bench.folder / "transcripts.jsonl").unlink()
    outcome, reason = ended(bench)
    assert outcome == "no_references"
    assert "--gold llm" in reason
    assert bench.report().unreferenced == {"no transcript": 24}


def test_a_model_that_gets_all_right_has_nothing_to_learn(bench: Bench, heard: Callable[[int], str]) -> None:
    make_folder(bench.folder, {number: heard(number) for number in range(24)})
    assert ended(bench)[0] == "nothing_to_learn"
    assert bench.report().measured[-1].before.wer.value == 0.0


def test_a_handful_of_errors_is_too_few(bench: Bench, heard: Callable[[int], str]) -> None:
    make_folder(bench.folder, {number: "go" if number < 5 else heard(number) for number in range(24)})
    assert ended(bench)[0] == "too_few_errors"


def test_errors_that_cannot_be_spelled_end_with_the_reasons(bench: Bench) -> None:
    make_folder(bench.folder, dict.fromkeys(range(24), "room 5"))
    assert ended(bench)[0] == "no_trainable_clips"
    found = {(aside.set_name, aside.reason) for aside in bench.report().set_aside}
    assert ("train_errors", "bad_reference") in found
    assert {reason for _, reason in found} == {"bad_reference", "too_short"}  # "go" takes less than a quarter of a second


def test_one_speaker_is_a_run_with_a_warning(bench: Bench) -> None:
    make_folder(bench.folder, {number: TEXTS[number % len(TEXTS)] for number in range(24)}, speakers=1)
    assert bench.run() == DONE
    assert any("one speaker only" in warning for warning in bench.report().warnings)
    assert bench.report().holdout[-1].change is not None
    assert bench.report().holdout[-1].clusters > 1  # clips


def test_a_model_that_gets_nothing_right_is_a_run_without_replay(bench: Bench) -> None:
    make_folder(bench.folder, {number: TEXTS[number % len(TEXTS)] for number in range(24)})
    assert bench.run() == DONE
    assert bench.trainer.jobs[0].sets.train_replay == []
    assert any("nothing is replayed" in warning for warning in bench.report().warnings)


LLM = GoldConfig(base_url="http://llm.example/v1", model="voxtral-2507")


def accepting(each: HeardClip) -> GoldRecord:
    text = TEXTS[int(Path(each.utterance_id).stem) % len(TEXTS)]
    return GoldRecord(utterance_id=each.utterance_id, decision="accepted", text=text, samples=(text,))


def test_only_what_a_person_left_open_is_asked_of_an_llm(bench: Bench, heard: Callable[[int], str]) -> None:
    make_folder(bench.folder, {number: heard(number) if number < 6 else None for number in range(24)})
    asker = Asker(accepting)
    assert bench.run(asker, gold="both", llm=LLM) == DONE
    assert len(asker.asked) == 18
    assert len(asker.trusted) == 6
    assert len(bench.lines("gold.jsonl")) == 18
    assert bench.report().gold == "both"
    provenance = {str(row["utterance_id"]): row["provenance"] for row in bench.lines("hypotheses.jsonl")}
    assert {name for name, whose in provenance.items() if whose == "llm"} == set(asker.asked)


def test_an_llm_alone_is_asked_of_all_and_transcripts_only_calibrate_the_filter(bench: Bench) -> None:
    asker = Asker(accepting)
    assert bench.run(asker, gold="llm", llm=LLM) == DONE
    assert len(asker.asked) == 24
    assert sorted(asker.trusted) == sorted(asker.asked)
    assert bench.report().gold == "llm"
    expected = "with --gold llm the transcripts of 24 files judge nothing: they only tell the filter what a right text scores"
    assert expected in bench.report().warnings
    assert {row["provenance"] for row in bench.lines("hypotheses.jsonl")} == {"llm"}


def test_an_answer_that_is_not_accepted_is_no_reference_and_what_is_open_is_for_a_person(bench: Bench) -> None:
    def answer(each: HeardClip) -> GoldRecord:
        number = int(Path(each.utterance_id).stem)
        changes = {0: {"decision": "rejected"}, 1: {"decision": "review", "reason": "samples differ"}, 2: {"text": "..."}}
        return accepting(each).model_copy(update=changes.get(number, {}))

    assert bench.run(Asker(answer), gold="llm", llm=LLM) == DONE
    assert bench.report().unreferenced == {
        "the LLM's answer was rejected": 1,
        "a person must hear it": 1,
        "the LLM's answer has no words": 1,
    }
    (open_question,) = bench.lines("review.jsonl")
    assert (open_question["utterance_id"], open_question["reason"]) == ("noisy/01.wav", "samples differ")
    assert Path(str(open_question["audio"])).exists()


def test_gold_for_a_minority_is_no_picture_of_the_folder(bench: Bench) -> None:
    def answer(each: HeardClip) -> GoldRecord:
        taken = int(Path(each.utterance_id).stem) < 11
        return accepting(each).model_copy(update={} if taken else {"decision": "review"})

    assert bench.run(Asker(answer), gold="llm", llm=LLM) == REFUSED
    assert bench.report().outcome == "little_gold"
    assert bench.report().reason.startswith("11 of 24 clips have one")
    assert len(bench.lines("review.jsonl")) == 13
    assert bench.trainer.jobs == []


def test_an_llm_that_is_down_stops_the_run_and_it_can_go_on(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def down(_: HeardClip) -> GoldRecord:
        raise Retryable("the LLM is down")

    assert bench.run(Asker(down), gold="llm", llm=LLM) == REFUSED
    assert "the LLM is down" in capsys.readouterr().err
    assert not (bench.output / "run.json").exists()
    assert not (bench.output / "report.json").exists()
    assert bench.run(Asker(accepting), gold="llm", llm=LLM, resume=True) == DONE


def test_a_real_endpoint_is_asked_with_the_files_own_bytes_and_never_twice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", small_trust(tmp_path))
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "RETUNE_LLM_API_KEY": "secret"}
    with GoldServer(lambda _: "hello", key="secret") as server:
        config = GoldConfig(base_url=server.url, model=MODEL, kind="transcription", samples=1)
        bench.run(LlmGold(config, environ, kept_answers(environ)), gold="llm", llm=config)
        sent = {asked.audio for asked in server.asked}
        bench.run(LlmGold(config, environ, kept_answers(environ)), gold="llm", llm=config, output_dir=tmp_path / "second")
        assert len(server.asked) == 24
    assert sent == {path.read_bytes() for path in bench.folder.rglob("*.wav")}
    assert [row["samples"] for row in bench.lines("gold.jsonl")] == [["hello"]] * 24
    assert "secret" not in "".join(path.read_text() for path in bench.output.glob("*.json*"))


def test_numbers_are_written_out_before_they_judge(bench: Bench) -> None:
    make_folder(bench.folder, dict.fromkeys(range(24), "room 5"))
    bench.run(language="en")
    assert {row["reference"] for row in bench.lines("hypotheses.jsonl")} == {"room five"}
    assert bench.report().warnings[0].startswith("train has no clip")


def test_figures_without_a_language_are_said(bench: Bench) -> None:
    make_folder(bench.folder, dict.fromkeys(range(24), "room 5"))
    bench.run()
    assert bench.report().warnings[0].startswith("24 transcripts have figures or symbols: without --language")


def test_the_real_training_leaves_a_model_and_an_adapter_that_load_anywhere(bench: Bench) -> None:
    bench.trainer = fine_tune  # type: ignore[assignment]
    assert bench.run(num_epochs=2, learning_rate=0.01, lora_rank=2) == DONE
    merged = Wav2Vec2ForCTC.from_pretrained(bench.output / "model")
    adapted = PeftModel.from_pretrained(Wav2Vec2ForCTC.from_pretrained(bench.model, dtype=torch.float32), str(bench.output / "adapter"))
    samples = torch.from_numpy(sound(0))[None]
    with torch.inference_mode():
        torch.testing.assert_close(adapted(samples).logits, merged(samples).logits, atol=1e-4, rtol=0)
    training = bench.report().training
    assert training is not None
    assert [point.epoch for point in training.epochs] == [1, 2]
    assert training.config.learning_rate == 0.01
    # a few dev clips cannot tell half a point: at most half of the update is taken
    assert [trial.scale for trial in training.trials] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert training.scale in {trial.scale for trial in training.trials}


@pytest.mark.parametrize(("words", "most"), [(0, 0.5), (199, 0.5), (200, 1.0)])
def test_few_words_of_clean_dev_speech_allow_half_of_the_update(words: int, most: float) -> None:
    assert max(cautious(TrainingConfig(), words).lambdas) == most


def test_clean_speech_may_lose_the_margin_or_what_its_few_errors_vary_by() -> None:
    assert bearable_rise(0.005, 9 / 100, 100) == pytest.approx(3 / 100)  # 9 errors, give or take 3
    assert bearable_rise(0.005, 0.0, 100) == pytest.approx(1 / 100)
    assert bearable_rise(0.005, 0.04, 10_000) == pytest.approx(0.005)  # 400 errors, give or take 20
    assert bearable_rise(0.005, None, 0) == 0.005
