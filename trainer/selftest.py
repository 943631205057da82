"""Whether the trainer can work where it is: one small cycle from spec to result, without a network, a GPU or any file of ours.

python -m trainer.selftest               in a Python environment
python -m trainer.selftest --image       in the image, as its build does; also checks that nobody is root, that nothing but the
                                         scratch folder can be written, and that no installer is left
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer.process import prepare_process

CODE = Path(__file__).resolve().parent
INSTALLERS = ("pip", "wheel")
"""setuptools stays: torch itself needs it."""


def image_problems(
    uid: int, code: Path, scratch: Path, can_write: Callable[[Path], bool], has_module: Callable[[str], bool]
) -> Iterator[str]:
    """Yield what is wrong with the image, as seen from inside.

    Args:
        uid: of this process.
        code: where the trainer's own code lies.
        scratch: where temporary files go.
        can_write: whether a file can be made in a folder.
        has_module: whether Python finds a module.
    """
    if uid == 0:
        yield "user: expected one that is not root, found uid 0: the image needs its USER"
    if can_write(code):
        yield f"{code}: expected a folder that cannot be written, found one that can: run with a read-only root"
    if not can_write(scratch):
        yield f"{scratch}: expected a folder that can be written, found none: mount the scratch volume so that uid {uid} may write"
    yield from (f"{name}: expected no installer in the image, found the module" for name in INSTALLERS if has_module(name))


def can_write(folder: Path) -> bool:
    """Tell whether a file can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def train_once(folder: Path) -> dict[str, object]:
    """Carry out one attempt of a cycle on a tiny random model, through the trainer's own `run`; return what it was and did.

    Raises:
        RuntimeError: it did not complete.
    """
    import torch
    import transformers

    from shared.audio_source import AudioSource
    from shared.clock import SystemClock
    from shared.testing.memory_store import MemoryStore
    from shared.training import LoraConfig, TrainingConfig
    from trainer.attempt.run import Dependencies, run
    from trainer.shell.attempt import Attempt
    from trainer.shell.carry import Ending
    from trainer.shell.progress import TRAIN_LOG, Progress
    from trainer.testing import Outbox, store_cycle, store_model, stored_clip, write_tiny_model

    store, outbox = MemoryStore("gs://selftest"), Outbox()
    base = store_model(store, 0, write_tiny_model(folder / "model"), learned=())
    config = TrainingConfig(epochs=2, batch_size=2, lora=LoraConfig(rank=4, alpha=8), lambdas=(1.0,), precision="fp32")
    texts = ("abba", "fig", "nop", "jak")
    roles = {"train-errors": "train_errors", "dev-errors": "dev_errors", "holdout": "judge"}
    sets = {(name, role): [stored_clip(store, f"{name}{n}", text) for n, text in enumerate(texts)] for name, role in roles.items()}
    store_cycle(store, sets, base, config)  # type: ignore[arg-type]
    work = folder / "work"
    work.mkdir()
    clock = SystemClock()
    attempt = Attempt(store, outbox, clock, cycle=1, number=1, progress=Progress(work / TRAIN_LOG, clock))
    ending = run(attempt, Dependencies(work, lambda prefixes: AudioSource(lambda _uri: store, prefixes)))
    if ending != Ending.COMPLETED:
        raise RuntimeError(f"selftest: expected the run to be completed, found {ending.name}: see the lines above")
    versions = {"python": sys.version.split()[0], "torch": str(torch.__version__), "transformers": transformers.__version__}
    return {"ending": "completed", **versions, "cuda": torch.version.cuda, "gpus": torch.cuda.device_count(), "events": len(outbox.events)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON object and return 0, or say what is wrong and return 1."""
    parser = argparse.ArgumentParser(prog="python -m trainer.selftest", description="Train a tiny model once, to see that it can be done.")
    parser.add_argument("--image", action="store_true", help="check the image around it as well")
    chosen = parser.parse_args(arguments)
    scratch = Path(tempfile.gettempdir())
    if chosen.image:
        problems = list(image_problems(os.getuid(), CODE, scratch, can_write, lambda name: importlib.util.find_spec(name) is not None))
        if problems:
            print("\n".join(problems), file=sys.stderr)
            return 1
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    prepare_process()
    with tempfile.TemporaryDirectory(prefix="retune-selftest-") as folder:
        print(json.dumps(train_once(Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
