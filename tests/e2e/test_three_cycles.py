"""Continual use on real speech: errors keep falling from cycle to cycle, nothing gained is lost, and clean speech stays as it was."""

import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from infra.processes import ROOT

pytestmark = [
    pytest.mark.torch,
    pytest.mark.timeout(1200),  # three trainings: under two minutes on two cores that nobody else uses
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the extra `trainer` is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the extra `local` is not installed"),
]


def test_errors_fall_over_three_cycles_and_the_suite_stays_flat(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.e2e.three_cycles", str(tmp_path)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    calls, suite = found["calls"], found["suite"]
    print(f"calls {[f'{wer:.1%}' for wer in calls]}, suite {[f'{wer:.1%}' for wer in suite]}")
    assert calls[1] < 0.9 * calls[0], found
    assert calls[3] < min(calls[1], 0.8 * calls[0]), found
    assert all(later <= earlier + 0.01 for earlier, later in pairwise(calls)), found  # what one cycle gained the next does not lose
    assert found["suite_surely_worse"] == [False, False, False], found  # by the margin that a suite has by default
    assert max(suite[1:]) <= suite[0] + 0.01, found
