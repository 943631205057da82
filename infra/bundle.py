"""Deployable bundles: one zip per function, as Google Cloud builds it (`python -m infra.bundle --out build/bundles`).

Google's build looks for `main.py` and `requirements.txt` at the root and puts nothing but the root on the path, so the zip holds
both beside the folders `functions/` and `shared/`. Equal sources give equal bytes: the digest of a zip may name a deployment.
"""

import argparse
import hashlib
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.errors import NotFound

ROOT = Path(__file__).resolve().parents[1]

_EVERY = ("functions-framework", "google-cloud-pubsub", "google-cloud-storage", "google-crc32c", "pydantic", "tenacity")
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "collector": _EVERY,
    "launcher": _EVERY,
    "validator": (*_EVERY, "jinja2", "jiwer", "numpy", "rapidfuzz", "scipy"),
    "deployer": _EVERY,
    "sweeper": _EVERY,
}
"""What each function imports beyond the standard library; a test holds it against the imports."""

LEFT_OUT = frozenset({"shared/client", "shared/testing", "shared/schemas", "shared/py.typed"})
"""A package of its own; for tests; goldens that nothing reads at run time; for type checkers."""

RUNTIME = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}
"""Where functions run (runtime python311), whatever machine makes the bundle."""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)$")
_OLDEST = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16


def build_bundle(function: str, out_dir: Path) -> Path:
    """Write `<out_dir>/<function>.zip` and return its path.

    Raises:
        NotFound: no such function, or a requirement is not installed here or has no pin in `constraints.txt`.
    """
    if function not in REQUIREMENTS:
        raise NotFound(f"function {function!r}: expected one of {sorted(REQUIREMENTS)}, found none")
    contents = {
        "main.py": _entry_point(function),
        "requirements.txt": _requirements(function),
        **{path: (ROOT / path).read_bytes() for folder in ("functions", "shared") for path in _sources(folder)},
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / f"{function}.zip"
    # Stored, not deflated: another zlib would give other bytes for the same sources.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as bundle:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _OLDEST)
            entry.create_system = 3  # Unix, so that the mode below means something
            entry.external_attr = _PLAIN_FILE
            bundle.writestr(entry, data)
    return target


def _entry_point(function: str) -> bytes:
    lines = [
        f'"""Entry point of the {function}, made by infra.bundle."""',
        "",
        f"from functions.{function}.main import entry",
        "",
        '__all__ = ["entry"]',
    ]
    return ("\n".join(lines) + "\n").encode()


def _sources(folder: str) -> Iterator[str]:
    """Yield the files of a folder that a function may need, relative to the root."""
    for path in sorted((ROOT / folder).iterdir()):
        name = path.relative_to(ROOT).as_posix()
        if name in LEFT_OUT or path.name == "__pycache__" or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _sources(name)
        else:
            yield name


def _requirements(function: str) -> bytes:
    pins = _pins()
    direct = {canonicalize_name(name) for name in REQUIREMENTS[function]}
    everything = closure(REQUIREMENTS[function])
    missing = sorted(everything - pins.keys())
    if missing:
        raise NotFound(f"requirements of the {function}: expected pins in constraints.txt, found none for {', '.join(missing)}")
    lines = [
        "# Made by infra.bundle from constraints.txt.",
        *(f"{name}=={pins[name]}" for name in sorted(direct)),
        "# What these need in turn: the same bundle runs the same code whenever it is built.",
        *(f"{name}=={pins[name]}" for name in sorted(everything - direct)),
    ]
    return ("\n".join(lines) + "\n").encode()


def _pins() -> dict[str, str]:
    """Return the version of each distribution in `constraints.txt` by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(match[1]): match[2] for match in map(_PIN.match, lines) if match}


def closure(names: Sequence[str]) -> set[str]:
    """Return the canonical names of distributions with all that they need where functions run.

    Raises:
        NotFound: one of them is not installed here, so that nobody can tell what it needs.
    """
    waiting = [(canonicalize_name(name), "") for name in names]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        for requirement in _needs(name):
            if requirement.marker is not None and not requirement.marker.evaluate({**RUNTIME, "extra": extra}):
                continue
            needed = canonicalize_name(requirement.name)
            found = {(needed, each) for each in ("", *requirement.extras)} - seen
            seen |= found
            waiting.extend(found)
    return {name for name, _ in seen}


def _needs(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError as error:
        raise NotFound(f"distribution {name}: expected it to be installed, found none") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the bundles that the command line names and print path, size and digest of each."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle", description="Build deployable bundles of the functions.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the zips")
    parser.add_argument("functions", nargs="*", metavar="function", help=f"of {', '.join(REQUIREMENTS)}; none = all")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.functions) - REQUIREMENTS.keys())
    if unknown:
        parser.error(f"no such function: {', '.join(unknown)}; there are {', '.join(REQUIREMENTS)}")
    for function in options.functions or REQUIREMENTS:
        bundle = build_bundle(function, options.out)
        digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
        sys.stdout.write(f"{bundle}  {bundle.stat().st_size} bytes  sha256:{digest}\n")


if __name__ == "__main__":
    main()
