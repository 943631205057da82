"""Gold for a cycle's clips, up to the first request; tests/e2e/test_gold_cycle.py holds the rest."""

from functools import partial
from pathlib import Path
from typing import cast

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared.audio_source import AudioPin
from shared.gold import GoldConfig
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import TrainingConfig, UnlabelledClip
from trainer.attempt.dataset import Dataset
from trainer.attempt.labelling import Labelling
from trainer.clips.load import UnlabelledOnDisk
from trainer.gold.transcribers import open_transcriber
from trainer.recogniser import Recogniser
from trainer.shell.failures import RunFailed
from trainer.shell.progress import Progress

pytestmark = pytest.mark.torch

PIN = AudioPin(uri="gs://calls/a.wav", generation=1, crc32c="AAAAAA==", size_bytes=1)
CLIP = UnlabelledClip(utterance_id="u1", cluster="c", audio=PIN, hypothesis="call me bag")
CONFIG = GoldConfig(base_url="https://llm.example/v1", model="gold-1")


def test_a_key_that_cannot_be_one_fails_the_attempt_as_an_endpoint_that_cannot_be_asked(tmp_path: Path) -> None:
    labelling = Labelling(
        store=MemoryStore(),
        cycle=1,
        recogniser=cast(Recogniser, None),  # nothing is heard
        open_transcriber=partial(open_transcriber, environ={"RETUNE_LLM_API_KEY": "two words"}),
        config=TrainingConfig(),
        progress=Progress(tmp_path / "log.jsonl", FakeClock(), bars=False),
    )
    dataset = Dataset(
        {"train_errors": [], "train_replay": []}, {}, (), unlabelled=[UnlabelledOnDisk(CLIP, "train-unlabelled", Path("a"), 16_000)]
    )
    with pytest.raises(RunFailed, match="Check the key in RETUNE_LLM_API_KEY") as failed:
        labelling.label(dataset, CONFIG)
    assert failed.value.reason == "gold_unavailable"
