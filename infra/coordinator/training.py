"""Training in this process: by the trainer of `python -m trainer`, or by a person's own function within the trainer's shell.

Nothing here imports torch before it trains.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from functions.launcher.trainers import TrainerRun
from infra.coordinator.by_callback import CallbackRun
from infra.coordinator.functions import Functions
from infra.coordinator.job import TrainingCallback, Transcribe
from infra.coordinator.quiet import aloud, logging_to
from infra.errors import Refused
from shared.audio_source import AudioSource
from trainer.process import prepare_process
from trainer.shell.attempt import Attempt
from trainer.shell.machine import find_machine
from trainer.shell.progress import Progress


def check_can_train() -> None:
    """Look for what the trainer needs.

    Raises:
        Refused: it is not installed.
    """
    missing = [name for name in ("torch", "transformers", "peft", "soundfile") if find_spec(name) is None]
    if missing:
        found = f"the trainer's packages: expected them, found no {', '.join(missing)}"
        raise Refused(f"{found}: run `pip install 'retune[trainer]'`, or give a training callback")


def train(functions: Functions, run: TrainerRun, callback: TrainingCallback | None, hear_base: Transcribe | None) -> None:
    """Do the work of one attempt; its last word is published, and what follows from it is done.

    Args:
        functions: that started it.
        run: the attempt.
        callback: trains instead of the trainer.
        hear_base: transcribes as production does now; None = the base model does.
    """
    heard = None if hear_base is None else aloud(hear_base)
    try:
        with _work_dir(functions) as folder:
            if callback is None:
                _train_here(functions, run, folder, heard)
            else:
                _train_elsewhere(functions, run, folder, aloud(callback), heard)
    finally:
        functions.trainers.delete(run.name)
    functions.settle()


@contextmanager
def _work_dir(functions: Functions) -> Iterator[Path]:
    with TemporaryDirectory(prefix="retune-trainer-") as folder, logging_to(functions.data.log_path):
        yield Path(folder)


def _train_here(functions: Functions, run: TrainerRun, folder: Path, hear_base: Transcribe | None) -> None:
    prepare_process()

    from trainer.attempt.run import Dependencies
    from trainer.attempt.run import run as carry_out

    ports, data = functions.deps.ports, functions.data
    deps = Dependencies(
        store=ports.store,
        publisher=ports.publisher,
        clock=ports.clock,
        work_dir=folder,
        audio=lambda prefixes: AudioSource(data.open_store, prefixes),
        machine=find_machine(os.environ),
        hear_base=hear_base,
    )
    carry_out(run.spec_uri, run.attempt, deps)


def _train_elsewhere(functions: Functions, run: TrainerRun, folder: Path, callback: TrainingCallback, hear_base: Transcribe | None) -> None:
    ports = functions.deps.ports
    attempt = Attempt(
        store=ports.store,
        publisher=ports.publisher,
        clock=ports.clock,
        cycle=run.cycle,
        number=run.attempt,
        progress=Progress(folder / "train-log.jsonl", ports.clock),
        machine=find_machine(os.environ),
    )
    CallbackRun(attempt, functions.data.audio, folder, callback, hear_base).carry()
