"""`retune up` in one terminal and the real gcloud in another, as the guide says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.processes import ROOT
from infra.waiting import wait_for
from shared import keys
from shared.cas import find
from shared.dir_store import DirStore

pytestmark = pytest.mark.emulator

DEADLINE_S = 40.0


def test_a_forced_run_with_nothing_to_train_on_is_declined_with_the_reason(tmp_path: Path) -> None:
    if shutil.which("gcloud") is None:
        if os.environ.get("RETUNE_REQUIRE_EMULATOR") == "1":
            pytest.fail("RETUNE_REQUIRE_EMULATOR=1: expected gcloud on the PATH, found none")
        pytest.skip("gcloud is not installed")
    retune = [sys.executable, "-m", "infra.cli"]
    with subprocess.Popen([*retune, "up", "--no-model", "--dir", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert "ready\n" in up.stdout
        exports = subprocess.run([*retune, "env", "--dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        command = exports + "gcloud --quiet pubsub topics publish finetune-triggers --message='{\"force\": true}' --format=json"
        own = {**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true"}
        typed = subprocess.run(["bash", "-ec", command], env=own, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert typed.returncode == 0, typed.stderr
        (message_id,) = json.loads(typed.stdout)["messageIds"]

        store = DirStore(tmp_path / "buckets" / "retune-local")
        found = wait_for(lambda: find(store, keys.declined(1)), timeout_s=DEADLINE_S, what="the launcher's refusal")
        declined = json.loads(found.data)
        assert declined["cause"] == f"pubsub:{message_id}"
        assert "no clip can be trained on: not one error has a person's reference and readable audio" in declined["decision"]["held"]
        up.terminate()
        assert up.wait(DEADLINE_S) == 0
