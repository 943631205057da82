"""The command line, each call a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from trainer.shell.failures import RunPreempted
from trainer.shell.preemption import Preemption
from trainer.testing import write_tiny_model

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]


def call(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("RETUNE_", "GOOGLE_"))}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**variables, **environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_the_arguments() -> None:
    done = call("trainer", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("--spec", "--attempt", "--heartbeat-s"))


@pytest.mark.parametrize("uri", ["gs://retune/cycles/12/spec.json", "s3://x/cycles/000012/spec.json", "gs://retune/spec.json", "nonsense"])
def test_a_wrong_spec_address_is_explained(uri: str) -> None:
    done = call("trainer", "--spec", uri, GOOGLE_CLOUD_PROJECT="retune-local")
    assert done.returncode == 2
    assert "--spec" in done.stderr
    assert "expected gs://bucket" in done.stderr


def test_a_missing_project_is_explained() -> None:
    done = call("trainer", "--spec", "gs://retune/cycles/000012/spec.json")
    assert done.returncode == 2
    assert "GOOGLE_CLOUD_PROJECT" in done.stderr


def test_a_cycle_without_a_state_is_left_alone(tmp_path: Path) -> None:
    spec = f"{tmp_path.as_uri()}/cycles/000012/spec.json"
    done = call("trainer", "--spec", spec, "--attempt", "3", GOOGLE_CLOUD_PROJECT="retune-local")
    assert (done.returncode, done.stderr) == (0, "")
    line = json.loads(done.stdout)
    assert line["message"] == "nothing to do: the cycle has no state"
    assert (line["cycle"], line["attempt"]) == (12, 3)


def test_a_model_can_be_imported(tmp_path: Path) -> None:
    done = call("trainer.importing", str(write_tiny_model(tmp_path / "theirs")), str(tmp_path / "ours"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["letters"] == "'abcdefghijklmnopqrstuvwxyz"
    assert (tmp_path / "ours" / "model.safetensors").exists()


def test_the_first_sigterm_preempts_until_the_result_is_at_hand() -> None:
    before = signal.getsignal(signal.SIGTERM)
    preemption = Preemption()
    try:
        preemption.install()
        with pytest.raises(RunPreempted):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # the second one does not disturb what the first one set off
        disarmed = Preemption()
        disarmed.install()
        disarmed.disarm()
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
