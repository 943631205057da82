"""A cycle that a tiny random model trains: set up, run, looked at."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from shared import keys
from shared.audio_source import AudioSource
from shared.cas import find
from shared.cycle import CODEC, CycleState, Status, move
from shared.documents import parse_document
from shared.manifest import ModelManifest
from shared.objectstore import ObjectStore
from shared.testing.clock import START, FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import Clip, LoraConfig, SetRole, TrainingConfig, TrainingResult
from trainer.attempt.run import Dependencies, run
from trainer.recogniser import Recogniser
from trainer.shell.attempt import Attempt
from trainer.shell.carry import Ending
from trainer.shell.progress import TRAIN_LOG, Progress
from trainer.testing import Outbox, store_cycle, store_model, stored_clip, tones, wav_bytes, write_tiny_model

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
        progress = Progress(work_dir / TRAIN_LOG, self.clock)
        deps = Dependencies(
            work_dir=work_dir,
            audio=lambda prefixes: AudioSource(lambda _uri: self.store, prefixes),
            smoke_test=smoke,
            device=torch.device("cpu"),
            hear_base=hear_base,
        )
        return run(Attempt(self.store, self.outbox, self.clock, 1, attempt, progress, heartbeat_s=0.05), deps)

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
