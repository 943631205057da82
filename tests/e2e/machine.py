"""A trainer as a process of its own, on a tiny model and clips of tones."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.processes import ROOT
from shared import keys
from shared.audio_source import AudioSource
from shared.cas import find
from shared.cycle import CODEC, CycleState, Status, move
from shared.dir_store import DirStore
from shared.documents import document_bytes, parse_document
from shared.manifest import ModelManifest
from shared.testing.clock import START
from shared.training import Clip, Heartbeat, TrainingConfig, TrainingResult
from trainer.testing import store_cycle, store_model, tones, wav_bytes, write_tiny_model

PROJECT = "retune-local"


class Machine:
    """Cycle 1 in a folder, and trainers as processes that work on it.

    Args:
        folder: for the store and the model; it is made.
        calls: an empty or shared folder for the audio.
        pubsub: address of the Pub/Sub server.
        config: of the training.
        python: interpreter of the trainers.
        code: folder that holds their code.
        environ: more of their environment.
    """

    def __init__(
        self,
        folder: Path,
        calls: Path,
        pubsub: str,
        config: TrainingConfig,
        *,
        python: str = sys.executable,
        code: Path = ROOT,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._python, self._code = python, code
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
        spec = store_cycle(self.store, sets, base, config)  # type: ignore[arg-type]
        self.store.put(keys.spec(1), document_bytes(spec.model_copy(update={"audio_prefixes": (calls.as_uri(),)})))
        self._environment = {
            **os.environ,
            "PUBSUB_EMULATOR_HOST": pubsub,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "OMP_WAIT_POLICY": "PASSIVE",
            **(environ or {}),
        }

    def start(self, attempt: int) -> subprocess.Popen[str]:
        spec = f"{self.store.uri}/{keys.spec(1)}"
        command = [self._python, "-m", "trainer", "--spec", spec, "--attempt", str(attempt), "--heartbeat-s", "0.05"]
        return subprocess.Popen(command, cwd=self._code, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def complete(self, attempt: int) -> TrainingResult:
        with self.start(attempt) as process:
            said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said[-2000:]
        return parse_document(TrainingResult, self.store.get(keys.result(1)).data, what="result")

    def weights(self) -> str:
        manifest = parse_document(ModelManifest, self.store.get(keys.manifest(1)).data, what="manifest")
        return next(file.sha256 for file in manifest.files if file.name == "model.safetensors")

    def state(self) -> CycleState:
        return CODEC.parse(self.store.get(keys.state(1)).data)

    def steps_done(self) -> int:
        found = find(self.store, keys.heartbeat(1))
        beat = parse_document(Heartbeat, found.data, what="heartbeat") if found else None
        return beat.done if beat and beat.phase == "training" else 0

    def relaunch(self) -> None:
        state = self.state()
        for status, attempt in ((Status.INTERRUPTED, None), (Status.PREPARING, 2)):
            state = move(state, status, at=START, by="test", cause="test", attempt=attempt)
        self.store.put(keys.state(1), CODEC.dump(state))


def _clip(folder: Path, name: str, text: str) -> Clip:
    path = folder / f"{name}.wav"
    path.write_bytes(wav_bytes(tones(text, seed=sum(name.encode()))))
    pin = AudioSource(allowed_prefixes=(folder.as_uri(),)).pin(path.as_uri())
    return Clip(utterance_id=name, cluster=f"speaker-{name}", stratum="errors", audio=pin, reference=text, provenance="human")
