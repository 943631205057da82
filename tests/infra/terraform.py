"""Runs terraform on a copy of infra/, with Google's provider where it can be had, else with a stand-in for it.

RETUNE_TERRAFORM_STANDIN names a program that is put before `terraform` and brings providers that know the schemas alone: tests mock
every provider, so nothing else is asked of them.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
TIMEOUT_S = 240
COPIED = ("*.tf", "*.json", "modules", "tests", "envs", "bootstrap")


class NoTerraform(Exception):
    """Terraform, or a provider for it, is not to be had here; the text says what is missing."""


@dataclass(frozen=True)
class Workspace:
    """A copy of infra/ that was initialised.

    Attributes:
        folder: the root module.
        command: how terraform is started.
    """

    folder: Path
    command: tuple[str, ...]

    def run(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return _run((*self.command, *arguments), folder or self.folder)

    def test(self, *arguments: str) -> list[dict[str, Any]]:
        """Run `terraform test` and return what it reports, one object for each line."""
        done = self.run("test", "-json", *arguments)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _run(command: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    environ.pop("TF_DATA_DIR", None)
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def workspace(root: Path, *, small: bool = True) -> Workspace:
    """Copy infra/ into `root`, initialise it and return it.

    Args:
        root: an empty folder.
        small: take two files of each function for all of its source: what tests ask does not depend on it, and they are much faster.

    Raises:
        NoTerraform: terraform or its providers are not to be had.
    """
    folder = root / "infra"
    folder.mkdir(parents=True)
    for pattern in COPIED:
        for path in INFRA.glob(pattern):
            target = folder / path.name
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
            else:
                shutil.copy(path, target)
    for name in ("functions", "shared", "LICENSE"):
        (root / name).symlink_to(ROOT / name)
    if small:
        bundles = json.loads((folder / "bundles.json").read_text())
        short = {name: {**bundle, "files": bundle["files"][:2]} for name, bundle in bundles.items()}
        (folder / "bundles.json").write_text(json.dumps(short))
    return Workspace(folder, _initialise(folder))


def _initialise(folder: Path) -> tuple[str, ...]:
    problems = []
    for command in commands():
        done = _run((*command, "init", "-backend=false", "-no-color"), folder)
        if done.returncode == 0:
            return command
        problems.append(" ".join((done.stderr or done.stdout).split())[-400:])
    raise NoTerraform(f"no provider to be had: {'; '.join(problems)}")


@cache
def commands() -> tuple[tuple[str, ...], ...]:
    """Return the ways to start terraform, the real provider's first.

    Raises:
        NoTerraform: terraform is not installed.
    """
    if shutil.which("terraform") is None:
        raise NoTerraform("terraform is not installed")
    standin = os.environ.get("RETUNE_TERRAFORM_STANDIN")
    return (("terraform",), *(((standin, "terraform"),) if standin else ()))
