"""The folder of one run: what lies where in it, and whether a run may begin or go on there."""

import shutil
from pathlib import Path

from pydantic import BaseModel

from shared.documents import document_bytes, parse_document
from shared.errors import CorruptObject
from shared.whole_file import put_whole
from trainer.finetune.options import Options, UsageError, flag_of
from trainer.shell.progress import TRAIN_LOG

MAY_CHANGE = frozenset({"audio_dir", "output_dir", "resume", "max_hours"})
"""The folder's content is compared by its digest, wherever it lies; more time changes nothing that was decided."""


class OutputFolder:
    """Where everything is written.

    Attributes:
        options: the flags, at the very start.
        decisions: what was decided: references and split, see `RunDecisions`.
        work: what is needed on the way only; gone when the run is done.
        base, audio: in it, the base model, checked and converted, and every clip at the model's rate.
        checkpoints: what a resumed training goes on from.
        model, adapter: the result, as `from_pretrained` and PEFT load it.
        log: see `Progress`.
        hypotheses, gold, review: see `HypothesisRow`, `shared.gold.GoldRecord` and `shared.gold.ReviewItem`.
        page: the report for people.
        report: see `FinetuneReport`; written last.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.options = root / "options.json"
        self.decisions = root / "run.json"
        self.work = root / "work"
        self.base = self.work / "base"
        self.audio = self.work / "audio"
        self.checkpoints = root / "checkpoints"
        self.model = root / "model"
        self.adapter = root / "adapter"
        self.log = root / TRAIN_LOG
        self.hypotheses = root / "hypotheses.jsonl"
        self.gold = root / "gold.jsonl"
        self.review = root / "review.jsonl"
        self.page = root / "report.html"
        self.report = root / "report.json"


def open_output(options: Options) -> OutputFolder:
    """Return the folder of a new run, or with --resume of the one that is there.

    Raises:
        UsageError: something else lies there, a run without --resume does, or the flags are not those of the run.
    """
    output = OutputFolder(options.output_dir)
    if output.root.exists() and not output.root.is_dir():
        raise UsageError([f"--output-dir {output.root}: expected a folder, found a file"])
    if output.options.exists():
        _enter_again(output, options)
        return output
    inside = sorted(path.name for path in output.root.iterdir()) if output.root.is_dir() else []
    if inside:
        found = ", ".join(inside[:3])
        raise UsageError([f"--output-dir {output.root}: expected a new or empty folder, found {found}; choose another one"])
    if options.resume:
        raise UsageError([f"--resume: expected a run in {output.root}, found none; leave it out to start one"])
    output.root.mkdir(parents=True, exist_ok=True)
    put_whole(output.options, document_bytes(options))
    return output


def _enter_again(output: OutputFolder, options: Options) -> None:
    """Go on with a run, or begin anew where the one before was refused and decided nothing."""
    if options.resume:
        _check_same_run(output, options)
        return
    if output.decisions.exists() or output.report.exists():
        raise UsageError([f"--output-dir {output.root}: expected a new or empty folder, found a run; add --resume or choose another one"])
    shutil.rmtree(output.work, ignore_errors=True)
    put_whole(output.options, document_bytes(options))


def _check_same_run(output: OutputFolder, options: Options) -> None:
    try:
        before = parse_document(Options, output.options.read_bytes(), what=output.options.name)
    except CorruptObject as error:
        raise UsageError([f"--output-dir {output.root}: {error}; choose another folder"]) from error
    changed = [
        f"{flag_of(name)}: expected {_shown(getattr(before, name))} as when the run began, found {_shown(getattr(options, name))}"
        for name in Options.model_fields
        if name not in MAY_CHANGE and getattr(before, name) != getattr(options, name)
    ]
    if changed:
        raise UsageError([*changed, "give the same flags to go on, or another --output-dir for a new run"])


def _shown(value: object) -> str:
    return "none" if value is None else value.model_dump_json(exclude_defaults=True) if isinstance(value, BaseModel) else str(value)
