"""docs/tutorial.md as a reader follows it: its shell blocks in their order, a real stack, real training, and what it says they print."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from infra.processes import ROOT
from infra.waiting import wait_for
from shared import keys
from shared.dir_store import DirStore
from tests.shell_page import Shell, StackTerminal, Step, as_printed, headline, one_line, read_steps

pytestmark = [
    pytest.mark.torch,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the extra `trainer` is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the extra `local` is not installed"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

PAGE = ROOT / "docs" / "tutorial.md"
TRAINING_S = 300.0
MOVE_S = 60.0


def reader(folder: Path) -> dict[str, str]:
    """Return the environment of somebody called anna who has activated the environment that these tests run in."""
    search = os.pathsep.join([str(ROOT), str(ROOT / "shared" / "client"), os.environ.get("PYTHONPATH", "")])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    local = {name: value for name, value in os.environ.items() if not name.startswith(("RETUNE_", "CLOUDSDK_", "GOOGLE_"))}
    return {**local, "PATH": path, "PYTHONPATH": search, "LOGNAME": "anna", "HOME": str(folder), "COLUMNS": "100"}


def check_printed(step: Step, printed: str) -> None:
    found = as_printed(step.text).fullmatch(one_line(printed))
    assert found, f"{PAGE.name}, line {step.line}: expected\n{step.text}\nfound\n{printed}"


def check_shown(step: Step, console: str) -> None:
    wanted = one_line(step.text)
    wait_for(lambda: headline(console) == wanted or None, timeout_s=MOVE_S, what=f"the console to say {wanted!r}")


def test_the_page_does_and_prints_what_it_says(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    buckets = shop / ".retune" / "buckets" / "retune-local"
    buckets.mkdir(parents=True)
    DirStore(buckets).put(keys.SPLIT_KEY, b"a key that makes the same speakers judge in each run")
    steps = read_steps(PAGE.read_text(encoding="utf-8"))
    start, *rest = steps
    assert "retune up" in start.text
    environ = reader(tmp_path)
    with StackTerminal(shop, environ, start.text) as stack, Shell(shop, environ) as shell:
        printed = console = ""
        for step in rest:
            if step.kind == "sh":
                printed, code = shell.type(step.text)
                assert code == 0, f"{PAGE.name}, line {step.line}: exit code {code} of\n{step.text}\nwhich printed\n{printed}"
            elif step.kind == "text":
                check_printed(step, printed)
            elif step.kind == "log":
                said = stack.wait_for(as_printed(step.text), TRAINING_S)
                console = console or said[0].partition("the console: ")[2].partition(" ")[0]
            else:
                check_shown(step, console)
        assert stack.ctrl_c() == 0
    assert {step.kind for step in steps} == {"sh", "text", "log", "console"}
