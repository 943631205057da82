"""Deployable bundles: what each function consists of, and one zip for each as Google Cloud builds it.

Google's build looks for `main.py` and `requirements.txt` at the root and puts nothing but the root on the path, so a bundle holds
both beside the modules of `functions/` and `shared/` that the function imports, and no others: a change elsewhere redeploys nothing.
Terraform makes the zips that it deploys from `infra/bundles.json` (`make bundles`); `python -m infra.bundle --out DIR` makes the same
here. Equal sources give equal bytes: the digest of a zip may name a deployment.
"""

import argparse
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Sequence
from importlib import metadata
from modulefinder import ModuleFinder
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.errors import NotFound

ROOT = Path(__file__).resolve().parents[1]

_TRACES = ("google-auth", "opentelemetry-api", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk")
"""To export traces; loaded only where they are on."""
_EVERY = ("functions-framework", "google-cloud-pubsub", "google-cloud-storage", "google-crc32c", "pydantic", "tenacity", *_TRACES)
_MACHINES = ("google-api-core", "google-cloud-compute", "jinja2", "requests")
"""To start trainers on Google Cloud."""
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "collector": _EVERY,
    "launcher": (*_EVERY, *_MACHINES, "numpy"),
    "validator": (*_EVERY, "jinja2", "jiwer", "numpy", "rapidfuzz", "scipy"),
    "deployer": _EVERY,
    "sweeper": (*_EVERY, *_MACHINES, "numpy"),
    "notifier": (*_EVERY, "requests"),
    "dashboard": (*_EVERY, "google-auth", "itsdangerous", "jinja2", "jiwer", "requests"),
}
"""What each function imports beyond the standard library; a test holds it against the imports."""

BUNDLES = ROOT / "infra" / "bundles.json"
"""What Terraform reads: the files and the requirements of each function."""

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
    contents = bundle_contents(function)
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


def bundle_contents(function: str) -> dict[str, bytes]:
    """Return the path and the data of each file in a function's bundle; Terraform puts together the very same.

    Raises:
        NotFound: as `build_bundle`.
    """
    return {
        "main.py": f'from functions.{function}.main import entry\n\n__all__ = ["entry"]\n'.encode(),
        "requirements.txt": ("\n".join(requirements(function)) + "\n").encode(),
        **{path: (ROOT / path).read_bytes() for path in sources(function)},
    }


def sources(function: str) -> list[str]:
    """Return the files that a function imports, inside functions too, and the templates beside them, relative to the root."""
    finder = ModuleFinder(path=[str(ROOT)])
    finder.import_hook(f"functions.{function}.main")
    modules = [Path(file) for module in finder.modules.values() if (file := getattr(module, "__file__", None))]
    templates = [template for module in modules for template in module.parent.glob(f"{module.stem}.*.j2")]
    return sorted(path.relative_to(ROOT).as_posix() for path in (*modules, *templates))


def requirements(function: str) -> list[str]:
    """Return the pins of all that a function needs, what these need in turn included: a bundle runs the same code whenever it is built.

    Raises:
        NotFound: a requirement is not installed here, or has no pin in `constraints.txt`.
    """
    return requirements_of(REQUIREMENTS[function])


def requirements_of(names: Sequence[str]) -> list[str]:
    """Return the pins of distributions with all that they need.

    Raises:
        NotFound: as `requirements`.
    """
    pins = _pins()
    everything = closure(names)
    missing = sorted(everything - pins.keys())
    if missing:
        raise NotFound(f"requirements of {', '.join(names)}: expected pins in constraints.txt, found none for {', '.join(missing)}")
    return [f"{name}=={pins[name]}" for name in sorted(everything)]


def bundles_json() -> str:
    """Return the text of `infra/bundles.json`."""
    bundles = {name: {"files": sources(name), "requirements": requirements(name)} for name in REQUIREMENTS}
    return json.dumps(bundles, indent=2) + "\n"


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
    """Write what Terraform reads, or build the bundles that the command line names and print path, size and digest of each."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle", description="Build deployable bundles of the functions.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the zips; without it infra/bundles.json is written anew")
    parser.add_argument("functions", nargs="*", metavar="function", help=f"of {', '.join(REQUIREMENTS)}; none = all")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.functions) - REQUIREMENTS.keys())
    if unknown:
        parser.error(f"no such function: {', '.join(unknown)}; there are {', '.join(REQUIREMENTS)}")
    if options.out is None:
        BUNDLES.write_text(bundles_json(), encoding="utf-8")
        return
    for function in options.functions or REQUIREMENTS:
        bundle = build_bundle(function, options.out)
        digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
        sys.stdout.write(f"{bundle}  {bundle.stat().st_size} bytes  sha256:{digest}\n")


if __name__ == "__main__":
    main()
