"""The run of `retune finetune`, from a folder of audio to a report.

base model, clips     converted once into work/
measure               the base model hears all; references are a person's, or an LLM's where that was asked for
decide                the split; with the references it is written once: run.json
fine-tune             on the training clips with errors, and on as many that were right
measure again         both models on the held-out clips
report                and work/ goes
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from rich.console import Console

from shared.clock import Clock, SystemClock
from shared.documents import document_bytes, lines_bytes, parse_document
from shared.errors import CorruptObject, RetuneError
from shared.manifest import digest_folder
from shared.terminal import TextConsole, say
from shared.training import SetAside, SetRole
from shared.whole_file import put_whole
from trainer.clips.load import UsableClip
from trainer.clips.sets import training_sets
from trainer.clips.verbalise import needs_reading
from trainer.finetune.audio import DecodedClip, load_audio
from trainer.finetune.decisions import RunDecisions
from trainer.finetune.folder import AudioFolder, BadFolder, digest_of, read_folder
from trainer.finetune.measure import GoldPort, find_references, transcribe
from trainer.finetune.options import Options, UsageError, training_config
from trainer.finetune.output import OutputFolder, open_output
from trainer.finetune.prepare import divide, trainable, usable
from trainer.finetune.render import render_html, render_table
from trainer.finetune.report import Ending, FinetuneReport, NamedDigest, Surroundings, TrainingSummary, report_ending, report_result
from trainer.finetune.training import FineTune, TrainingJob, fine_tune
from trainer.importing import check_and_convert
from trainer.learning.evaluate import evaluate
from trainer.learning.identity import package_versions
from trainer.recogniser import Recogniser
from trainer.shell.failures import RunPreempted, explain_failure
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress

DONE, REFUSED, USAGE, INTERRUPTED, PREEMPTED = 0, 1, 2, 130, 143


def _console() -> Console:
    return TextConsole(highlight=False, soft_wrap=False)


@dataclass(frozen=True)
class Ports:
    """Everything outside that a run touches.

    Attributes:
        gold: asks an LLM; None where only a person's references are wanted.
        console: where people read.
    """

    fine_tune: FineTune = fine_tune
    gold: GoldPort | None = None
    clock: Clock = field(default_factory=SystemClock)
    preemption: Preemption = field(default_factory=Preemption)
    console: Console = field(default_factory=_console)


def run_finetune(options: Options, ports: Ports) -> int:
    """Carry a run out and print what came of it.

    Returns:
        0: done, whatever the verdict; 1: refused, or there was nothing to learn from; 2: flags that cannot be followed; 130, 143:
        interrupted or preempted, to be gone on with by --resume.
    """
    try:
        output = open_output(options)
        report = _finished(output, options) or _Run(options, ports, output).carry_out()
    except UsageError as error:
        say(error, err=True)
        return USAGE
    except RetuneError as error:
        say(error, err=True)
        return REFUSED
    except KeyboardInterrupt:
        say(f"interrupted: go on with --resume --output-dir {options.output_dir}", err=True)
        return INTERRUPTED
    except RunPreempted:
        say(f"the machine is being taken away: go on with --resume --output-dir {options.output_dir}", err=True)
        return PREEMPTED
    except Exception as error:
        failure = explain_failure(error)
        if failure.reason == "internal":
            raise
        say(failure, err=True)
        return REFUSED
    ports.console.print(render_table(report))
    ports.console.print(f"Report: {output.page}", soft_wrap=True)
    return REFUSED if report.ended_early else DONE


def _finished(output: OutputFolder, options: Options) -> FinetuneReport | None:
    """Return the report of a run that is done, None while it is not.

    Raises:
        UsageError: more time was given to a run that is done, or whose time was up: its holdout has been looked at.
    """
    if not output.report.exists():
        return None
    report = parse_document(FinetuneReport, output.report.read_bytes(), what=output.report.name)
    before = report.options.get("max_hours")
    if options.max_hours != before:
        ended = f"expected {before}, with which the run in {output.root} has ended, found {options.max_hours}"
        raise UsageError([f"--max-hours: {ended}; start a new run in another --output-dir"])
    return report


class _Run:
    """One run at work."""

    def __init__(self, options: Options, ports: Ports, output: OutputFolder) -> None:
        self._options, self._ports, self._output = options, ports, output
        self._config = training_config(options)
        self._progress = Progress(output.log, ports.clock)

    def carry_out(self) -> FinetuneReport:
        folder = read_folder(self._options.audio_dir)
        self._introduce(folder)
        base = self._load_base()
        clips, set_aside = self._load_audio(folder, base.model.sampling_rate_hz)
        decided, ending = self._decide(folder, base, clips, set_aside)
        if ending is not None:
            return self._finish(report_ending(ending, decided, self._surroundings(decided)), decided)
        sets, untrainable = trainable(decided, clips, base.model, self._config)
        if not sets["train_errors"]:
            nothing = Ending(outcome="no_trainable_clips", reason=f"all {len(untrainable)} training clips were set aside, see the reasons")
            return self._finish(report_ending(nothing, decided, self._surroundings(decided), untrainable), decided)
        del base  # its memory is the training's
        trained = self._fine_tune(decided, sets)
        before, after = self._measure_again(decided, clips)
        decided = decided.heard_again(before)
        return self._finish(report_result(decided, trained, after, self._surroundings(decided), untrainable), decided, after)

    def _introduce(self, folder: AudioFolder) -> None:
        noisy = sum(clip.condition == "noisy" for clip in folder.clips)
        with_text = sum(clip.transcript is not None for clip in folder.clips)
        self._ports.console.print(
            f"{len(folder.clips)} files: {len(folder.clips) - noisy} clean, {noisy} noisy; {with_text} have a transcript", soft_wrap=True
        )
        for warning in self._warnings(folder):
            self._ports.console.print(f"Note: {warning}", soft_wrap=True)

    def _warnings(self, folder: AudioFolder) -> list[str]:
        texts = [clip.transcript for clip in folder.clips if clip.transcript is not None]
        warnings = list(folder.warnings)
        if texts and self._options.gold == "llm":
            warnings.append(
                f"with --gold llm the transcripts of {len(texts)} files judge nothing: they only tell the filter what a right text scores"
            )
        elif figures := [text for text in texts if self._options.language is None and needs_reading(text)]:
            warnings.append(f"{len(figures)} transcripts have figures or symbols: without --language they are errors that nobody can learn")
        return warnings

    def _load_base(self) -> Recogniser:
        self._progress.enter("loading the model")
        if not self._output.base.exists():
            part = self._output.work / "base.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            check_and_convert(self._options.model, part)
            part.rename(self._output.base)
        return Recogniser.load(self._output.base)

    def _load_audio(self, folder: AudioFolder, rate_hz: int) -> tuple[dict[str, DecodedClip], list[SetAside]]:
        clips: dict[str, DecodedClip] = {}
        set_aside = []
        loaded = load_audio(folder.clips, rate_hz, self._output.audio)
        for outcome in self._progress.track(loaded, "reading audio", len(folder.clips)):
            if isinstance(outcome, DecodedClip):
                clips[outcome.source.utterance_id] = outcome
            else:
                set_aside.append(outcome)
        return clips, set_aside

    def _decide(
        self, folder: AudioFolder, base: Recogniser, clips: Mapping[str, DecodedClip], set_aside: Sequence[SetAside]
    ) -> tuple[RunDecisions, Ending | None]:
        """Return what was decided, now or by the run that is gone on with, and why it ends here, if it does."""
        digest = digest_of(folder.clips, {name: clip.sha256 for name, clip in clips.items()})
        files = tuple(digest_folder(self._output.base))
        if self._output.decisions.exists():
            decided = parse_document(RunDecisions, self._output.decisions.read_bytes(), what=self._output.decisions.name)
            if decided.folder_sha256 != digest:
                raise BadFolder(
                    f"--resume: expected the audio, transcripts and speakers that the run began with, found others in "
                    f"{self._options.audio_dir}; start a new run in another --output-dir"
                )
            if decided.base != files:
                raise CorruptObject(f"--resume: expected the base model of the run in {self._output.base}, found another; start a new run")
            return decided, None
        heard = transcribe(base, list(clips.values()), self._progress)
        found = find_references(heard, self._options, self._ports.gold, base, self._progress)
        if found.gold:
            put_whole(self._output.gold, lines_bytes(found.gold))
            put_whole(self._output.review, lines_bytes(found.review))
        decided = RunDecisions(
            created_at=self._ports.clock.now(),
            folder_sha256=digest,
            base=files,
            unit="speaker",
            gold_model=self._options.llm.model if self._options.llm else None,
            clips=found.clips,
            unreferenced=found.unreferenced,
            set_aside=tuple(set_aside),
            warnings=tuple(self._warnings(folder)),
        )
        decided, ending = divide(decided, found, self._options.seed)
        if ending is None:
            put_whole(self._output.decisions, document_bytes(decided))
        return decided, ending

    def _fine_tune(self, decided: RunDecisions, sets: dict[SetRole, list[UsableClip]]) -> TrainingSummary:
        job = TrainingJob(
            sets=training_sets(sets, self._config),
            config=self._config,
            output=self._output,
            base_name=self._options.model,
            base_sha256=" ".join(file.sha256 for file in decided.base),
            progress=self._progress,
            preemption=self._ports.preemption,
        )
        return self._ports.fine_tune(job)

    def _measure_again(self, decided: RunDecisions, clips: Mapping[str, DecodedClip]) -> tuple[dict[str, str], dict[str, str]]:
        """Return what base and fine-tuned model hear in the holdout, in the very same batches."""
        holdout, wrong = [clip for clip in decided.clips if clip.part == "holdout"], decided.wrong
        judged = [usable(clip, clips[clip.utterance_id], wrong=clip.utterance_id in wrong) for clip in holdout]
        base, candidate = Recogniser.load(self._output.base), Recogniser.load(self._output.model)
        rows = evaluate(base, candidate, judged, "holdout", self._progress).rows
        return {row.utterance_id: row.base_hypothesis for row in rows}, {row.utterance_id: row.candidate_hypothesis for row in rows}

    def _surroundings(self, decided: RunDecisions) -> Surroundings:
        files = [(f"base {file.name}", file.sha256) for file in decided.base]
        for folder in (self._output.model, self._output.adapter):
            files += [(f"{folder.name}/{file.name}", file.sha256) for file in (digest_folder(folder) if folder.exists() else ())]
        weights = [NamedDigest(name=name, sha256=sha256) for name, sha256 in files if name.endswith(".safetensors")]
        return Surroundings(
            created_at=self._ports.clock.now(),
            options=self._options.model_dump(mode="json"),
            seed=self._options.seed,
            packages={**package_versions(), "soxr": version("soxr")},
            digests=(NamedDigest(name="audio folder", sha256=decided.folder_sha256), *weights),
            run_s=round(self._progress.elapsed_s, 1),
        )

    def _finish(self, report: FinetuneReport, decided: RunDecisions, after: Mapping[str, str] | None = None) -> FinetuneReport:
        """Write everything, report.json last: it says that the run is done."""
        put_whole(self._output.hypotheses, lines_bytes(decided.hypotheses(after or {})))
        put_whole(self._output.page, render_html(report).encode())
        put_whole(self._output.report, document_bytes(report))
        shutil.rmtree(self._output.work)
        return report
