"""A machine that is taken away: a real trainer process gets SIGTERM, says so in time, and the next attempt loses nothing."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from infra.local.pubsub_server import PubSubServer
from infra.processes import ROOT
from infra.waiting import wait_for
from shared import keys
from shared.audio_source import AudioSource
from shared.cas import find
from shared.clock import SystemClock
from shared.cycle import CODEC, Status, move
from shared.dir_store import DirStore
from shared.events import TRAINING_EVENTS
from shared.testing.clock import START
from shared.testing.memory_bus import MemoryBus
from shared.training import (
    Clip,
    Heartbeat,
    LoraConfig,
    ModelManifest,
    TrainingConfig,
    TrainingResult,
    document_bytes,
    parse_document,
)
from trainer.testing import store_cycle, store_model, tones, wav_bytes, write_tiny_model

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="the extra `local` is not installed"),
]

CONFIG = TrainingConfig(epochs=120, batch_size=2, learning_rate=1e-3, patience=None, lora=LoraConfig(rank=4, alpha=8), lambdas=(1.0,))
PROJECT = "retune-local"
NOTICE_S = 30.0
"""What a machine that is taken away leaves a process."""


class Machine:
    """Cycle 1 in a folder, and trainers as processes that work on it."""

    def __init__(self, folder: Path, calls: Path, pubsub: str) -> None:
        folder.mkdir()
        self.store = DirStore(folder / "store")
        base = store_model(self.store, 0, write_tiny_model(folder / "made"), learned=())
        clips = {
            role: [_clip(calls, f"{role}{n}", text) for n, text in enumerate(("abba", "fig", "nop", "jak"))] for role in ("e", "d", "h")
        }
        sets = {
            ("train-errors", "train_errors"): clips["e"],
            ("dev-errors", "dev_errors"): clips["d"],
            ("holdout", "judge"): clips["h"],
        }
        spec = store_cycle(self.store, sets, base, CONFIG)  # type: ignore[arg-type]
        self.store.put(keys.spec(1), document_bytes(spec.model_copy(update={"audio_prefixes": (calls.as_uri(),)})))
        self._environment = {
            **os.environ,
            "PUBSUB_EMULATOR_HOST": pubsub,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def start(self, attempt: int) -> subprocess.Popen[str]:
        spec = f"{self.store.uri}/{keys.spec(1)}"
        command = [sys.executable, "-m", "trainer", "--spec", spec, "--attempt", str(attempt), "--heartbeat-s", "0.05"]
        return subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def complete(self, attempt: int) -> TrainingResult:
        with self.start(attempt) as process:
            said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said[-2000:]
        return parse_document(TrainingResult, self.store.get(keys.result(1)).data, what="result")

    def weights(self) -> str:
        manifest = parse_document(ModelManifest, self.store.get(keys.manifest(1)).data, what="manifest")
        return next(file.sha256 for file in manifest.files if file.name == "model.safetensors")

    def steps_done(self) -> int:
        found = find(self.store, keys.heartbeat(1))
        beat = parse_document(Heartbeat, found.data, what="heartbeat") if found else None
        return beat.done if beat and beat.phase == "training" else 0

    def relaunch(self) -> None:
        state = CODEC.parse(self.store.get(keys.state(1)).data)
        for status, attempt in ((Status.INTERRUPTED, None), (Status.PREPARING, 2)):
            state = move(state, status, at=START, by="test", cause="test", attempt=attempt)
        self.store.put(keys.state(1), CODEC.dump(state))


def _clip(folder: Path, name: str, text: str) -> Clip:
    path = folder / f"{name}.wav"
    path.write_bytes(wav_bytes(tones(text, seed=sum(name.encode()))))
    pin = AudioSource(allowed_prefixes=(folder.as_uri(),)).pin(path.as_uri())
    return Clip(utterance_id=name, cluster=f"speaker-{name}", stratum="errors", audio=pin, reference=text, provenance="human")


def test_a_trainer_that_gets_sigterm_leaves_a_checkpoint_in_time_and_the_next_attempt_gives_the_same_weights(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    bus = MemoryBus(SystemClock(), PROJECT)
    bus.create_topic(TRAINING_EVENTS)
    with PubSubServer(bus) as server:
        straight = Machine(tmp_path / "straight", calls, server.grpc_target)
        assert straight.complete(1).train["steps"] == 240
        taken = Machine(tmp_path / "taken", calls, server.grpc_target)
        with taken.start(1) as process:
            wait_for(lambda: taken.steps_done() >= 20 or None, timeout_s=120.0, what="twenty steps")
            signalled = time.monotonic()
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=NOTICE_S)
            assert time.monotonic() - signalled < NOTICE_S
        assert process.returncode == 143, said[-2000:]
        events = [(message.attributes["type"], json.loads(message.data)["attempt"]) for message in bus.published(TRAINING_EVENTS)]
        assert events == [("TrainingCompleted", 1), ("TrainingPreempted", 1)]
        (checkpoint,) = taken.store.list(keys.checkpoints(1))
        assert 20 <= int(checkpoint.key.rsplit("/", 1)[1][:8]) < 240
        taken.relaunch()
        assert taken.complete(2).attempt == 2
    log = taken.store.get(keys.train_log(1, 2)).data.decode()
    assert '"event": "resumed"' in log
    assert log.count('"event": "step"') == 240 - int(checkpoint.key.rsplit("/", 1)[1][:8])
    assert taken.weights() == straight.weights()
