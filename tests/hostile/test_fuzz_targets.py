"""The fuzz targets on what they start from, and on all that fuzzing has found: no atheris is needed for that."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.hostile import fuzz_gcs_wire
from tests.hostile.fuzz import TARGETS

FINDINGS = Path(__file__).parent / "findings"


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    """Close the local Cloud Storage server: it is kept between requests, and one of them begins an upload that nothing ends."""
    yield
    fuzz_gcs_wire.close()


def target(name: str) -> ModuleType:
    if name == "audio":
        pytest.importorskip("torch", reason="the extra `trainer` is not installed")
    return importlib.import_module(f"tests.hostile.fuzz_{name}")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_bears_what_it_starts_from(name: str) -> None:
    found = list(target(name).seeds())
    assert len(found) >= 5
    for data in found:
        target(name).one(data)


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_fuzzing_found_is_mended(path: Path) -> None:
    target(path.parent.name).one(path.read_bytes())


def test_every_finding_belongs_to_a_target() -> None:
    assert {path.name for path in FINDINGS.iterdir()} <= set(TARGETS)
