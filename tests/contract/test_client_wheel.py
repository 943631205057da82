"""The wheel that a production service installs: built from a copy of its folder, and imported far from this repository."""

import ast
import shutil
import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

CLIENT = Path(__file__).resolve().parents[2] / "shared" / "client"
BUILD = "from setuptools.build_meta import build_wheel; import sys; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(CLIENT, folder / "source", ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    command = [sys.executable, "-c", BUILD, str(folder)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.splitlines()[-1]


def test_it_holds_the_client_alone_and_says_that_it_is_typed(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"retune_client"}
    modules = {f"retune_client/{path.name}" for path in (CLIENT / "retune_client").iterdir() if path.suffix in {".py", ".typed"}}
    assert {name for name in names if name.startswith("retune_client/")} == modules


def test_it_asks_for_googles_two_clients_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    required = {line.split(">")[0].strip() for line in metadata.get_all("Requires-Dist", [])}
    assert required == {"google-cloud-pubsub", "google-cloud-storage"}


def test_its_code_imports_nothing_beside_the_standard_library_google_and_itself(wheel: Path) -> None:
    """`google_crc32c` comes with google-cloud-storage, which needs it."""
    allowed = {*sys.stdlib_module_names, "google", "google_crc32c", "retune_client"}
    with ZipFile(wheel) as archive:
        for name in (name for name in archive.namelist() if name.endswith(".py")):
            for node in ast.walk(ast.parse(archive.read(name))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert {each.split(".")[0] for each in names} <= allowed, name


def test_it_is_imported_far_from_this_repository(wheel: Path, tmp_path: Path) -> None:
    program = "import retune_client, sys; print(retune_client.__file__); assert not {'shared', 'functions', 'infra'} & set(sys.modules)"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(wheel)!r}); {program}"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(wheel))
