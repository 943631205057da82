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
from trainer.shell.progress import TRAIN_LOG, Progress


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
            ports = functions.deps.ports
            attempt = Attempt(
                store=ports.store,
                publisher=ports.publisher,
                clock=ports.clock,
                cycle=run.cycle,
                number=run.attempt,
                progress=Progress(folder / TRAIN_LOG, ports.clock),
                machine=find_machine(os.environ),
            )
            if callback is None:
                _train_here(functions, attempt, folder, heard)
            else:
                CallbackRun(attempt, functions.data.audio, folder, aloud(callback), heard).carry()
    finally:
        functions.trainers.delete(run.name)
    functions.settle()


@contextmanager
def _work_dir(functions: Functions) -> Iterator[Path]:
    with TemporaryDirectory(prefix="retune-trainer-") as folder, logging_to(functions.data.log_path):
        yield Path(folder)


def _train_here(functions: Functions, attempt: Attempt, folder: Path, hear_base: Transcribe | None) -> None:
    prepare_process()

    from trainer.attempt.run import Dependencies, run

    run(attempt, Dependencies(folder, lambda prefixes: AudioSource(functions.data.open_store, prefixes), hear_base=hear_base))
