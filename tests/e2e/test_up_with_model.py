"""`retune up` as a newcomer runs it: the shipped model comes in, and synthetic calls bring real errors."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.processes import ROOT
from shared import keys, ledger
from shared.dir_store import DirStore
from shared.documents import parse_document
from shared.events import SttError, SttSample, SttTraffic
from shared.manifest import ModelManifest

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]

ERRORS = 12


def test_the_shipped_model_is_v0_and_its_own_mistakes_are_reported(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.cli", "up", "--sample-errors", str(ERRORS), "--dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as up:
        assert up.stdout is not None
        printed = []
        for line in up.stdout:
            printed.append(line)
            if line == "ready\n":
                break
        up.terminate()
        printed += up.stdout.readlines()
        assert up.wait(60.0) == 0, "".join(printed)

    store, calls = (DirStore(tmp_path / "buckets" / bucket) for bucket in ("retune-local", "retune-calls"))
    assert json.loads(store.get(keys.PRODUCTION).data)["stable"] == 0
    manifest = parse_document(ModelManifest, store.get(keys.manifest(0)).data, what="manifest")
    assert {"model.safetensors", "config.json", "vocab.json", "preprocessor_config.json"} <= {file.name for file in manifest.files}
    events = ledger.read_events(store, 1)
    errors = [event for event in events if isinstance(event, SttError)]
    assert len(errors) == ERRORS, "".join(printed)
    for error in errors:
        assert (error.model_version, error.reference_provenance) == (0, "human")
        assert error.reference
        assert error.reference != error.hypothesis
        assert calls.get(error.audio_uri.removeprefix("gs://retune-calls/")).data[:4] == b"RIFF"
    served = sum(event.utterances for event in events if isinstance(event, SttTraffic))
    assert served == len(list(calls.list("synthetic/"))) >= ERRORS
    assert all(event.sample_rate == 0.25 for event in events if isinstance(event, SttSample))
