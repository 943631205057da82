"""How long a new instance of each function takes to answer its first message, beside functions-framework's hello world.

As deployed: the bundle in a folder of its own, an interpreter with its requirements alone, started as Google's build starts it. The
requirements have bytecode, as that build leaves them; the function's own modules have none: an image has other times than the files that
were compiled, so that every start compiles them again. Programs take turns, so that whatever else the machine does falls on all alike.
Run as `python -m tests.benchmarks.cold_start`; it installs each function's requirements, as tests/e2e/test_bundles.py does. The target is
within 0.6 s of hello world, to the first answer and for the import alone.
"""

import argparse
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from functions.wiring import CONSOLE
from infra.bundle import REQUIREMENTS, requirements_of
from tests.deployed import MESSAGES, Cloud, Unpacked, clean_environ, embedded_cloud, envelope, get, install_all, post, started, unpack_all

ROUNDS = 9
TARGET_S = 0.6
DEADLINE_S = 60.0
LOOK_S = 0.002
HELLO = "hello world"
_HELLO_MAIN = """import functions_framework


@functions_framework.http
def entry(request):
    return "hello world"
"""
_IMPORT = "import time; started = time.perf_counter(); import main; print(time.perf_counter() - started)"
_UNCOMPILED = {"PYTHONDONTWRITEBYTECODE": "1"}
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)")


@dataclass(frozen=True)
class Start:
    """One start of one program, in seconds.

    Attributes:
        import_s: to import its entry point in a fresh interpreter.
        compiled_import_s: the same where its own modules have bytecode.
        answer_s: from the start of the process to the first answer.
        cpu_s: of processors, until then: what other work on the machine changes least.
    """

    import_s: float
    compiled_import_s: float
    answer_s: float
    cpu_s: float


def hello_world(root: Path) -> Path:
    """Write the smallest function that there can be; return its folder."""
    root.mkdir()
    (root / "main.py").write_text(_HELLO_MAIN, encoding="utf-8")
    (root / "requirements.txt").write_text("\n".join(requirements_of(["functions-framework"])) + "\n", encoding="utf-8")
    return root


def programs(root: Path) -> dict[str, Unpacked]:
    """Build hello world and every function, with bytecode for what they require and none of their own."""
    folders = {HELLO: hello_world(root / "hello"), **unpack_all(root)}
    bundles = install_all(folders, root / "environments")
    for python in {bundle.python for bundle in bundles.values()}:
        compile_command = [str(python), "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", str(python.parents[1] / "lib")]
        subprocess.run(compile_command, check=False)  # files that do not compile are left, as the build leaves them
    return bundles


def import_s(bundle: Unpacked, environ: Mapping[str, str]) -> float:
    """Import a program's entry point in a fresh interpreter and return how long that took."""
    command = [str(bundle.python), "-c", _IMPORT]
    done = subprocess.run(command, cwd=bundle.folder, env={**clean_environ(), **environ}, capture_output=True, text=True, check=True)
    return float(done.stdout)


def first_answer(name: str, bundle: Unpacked, cloud: Cloud, folder: Path) -> tuple[float, float]:
    """Start a program; return how long its first answer took, and the processor time until then.

    Raises:
        TimeoutError: it did not answer.
    """
    bucket = name.split(maxsplit=1)[0]
    cloud.bucket(bucket)
    environ = {**cloud.environ_of(bucket, folder / "work"), **_UNCOMPILED}
    body = envelope(MESSAGES[name]) if name in MESSAGES else b"{}"
    begun = time.perf_counter()
    with started(bundle, environ, folder) as (process, port):
        while time.perf_counter() - begun < DEADLINE_S and process.poll() is None:
            try:
                status = get(port)[0] if bucket == CONSOLE else post(port, body)
            except ConnectionRefusedError:
                time.sleep(LOOK_S)
                continue
            took = time.perf_counter() - begun
            assert status in {200, 204}, (folder / "stderr").read_text()
            return took, _cpu_s(process.pid)
    raise TimeoutError(f"{name}: expected an answer within {DEADLINE_S:g} s, found none: {(folder / 'stderr').read_text()}")


def _cpu_s(pid: int) -> float:
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def weights(bundle: Unpacked) -> dict[str, float]:
    """Return the packages that weigh most in the import of a program, in seconds without what they import in turn."""
    command = [str(bundle.python), "-X", "importtime", "-c", "import main"]
    environ = {**clean_environ(), **_UNCOMPILED}
    done = subprocess.run(command, cwd=bundle.folder, env=environ, capture_output=True, text=True, check=True)
    found: Counter[str] = Counter()
    for microseconds, module in _LINE.findall(done.stderr):
        found[module.split(".")[0]] += int(microseconds)
    return {package: total / 1e6 for package, total in found.most_common(8)}


def measure(root: Path, rounds: int) -> tuple[dict[str, list[Start]], dict[str, dict[str, float]]]:
    """Return the starts of each program, and where the time of its import goes."""
    bundles = programs(root)
    compiled = {name: Unpacked(root / "compiled" / name, bundle.python) for name, bundle in bundles.items()}
    for name, bundle in compiled.items():
        subprocess.run(["cp", "-r", str(bundles[name].folder), str(_made(bundle.folder.parent) / name)], check=True)
        subprocess.run([str(bundle.python), "-m", "compileall", "-qq", str(bundle.folder)], check=True)
    starts: dict[str, list[Start]] = {name: [] for name in bundles}
    with embedded_cloud(_made(root / "buckets")) as cloud:
        for number in range(rounds + 1):  # the first fills the page cache
            for name, bundle in bundles.items():
                imports = import_s(bundle, _UNCOMPILED), import_s(compiled[name], {})
                start = Start(*imports, *first_answer(name, bundle, cloud, _made(root / "runs")))
                starts[name] += [start] if number else []
    return starts, {name: weights(bundle) for name, bundle in bundles.items()}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def medians(starts: Mapping[str, list[Start]]) -> dict[str, dict[str, float]]:
    """Return the medians of each program, by name of the figure."""
    return {name: {key: median(asdict(each)[key] for each in found) for key in asdict(found[0])} for name, found in starts.items()}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures as a table: seconds, and in parentheses how much more than hello world."""
    hello = found[HELLO]
    lines = ["| | import | first answer | of it processor time | import, own modules compiled |", "|---|---|---|---|---|"]
    for name, figures in found.items():
        cells = [f"{figures[key]:.2f} (+{figures[key] - hello[key]:.2f})" for key in ("import_s", "answer_s", "cpu_s", "compiled_import_s")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print and store the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="retune-cold-start-") as folder:
        starts, heavy = measure(Path(folder), options.rounds)
    found = medians(starts)
    print(table(found))
    late = [name for name in REQUIREMENTS if found[name]["answer_s"] - found[HELLO]["answer_s"] > TARGET_S]
    print(f"cold_start_within_{TARGET_S:g}_s_of_hello_world: {len(REQUIREMENTS) - len(late)} of {len(REQUIREMENTS)} {late or ''}")
    for name, packages in heavy.items():
        print(f"import_of_{name}: " + ", ".join(f"{package} {seconds:.3f} s" for package, seconds in packages.items()))
    out = _made(Path("bench-results"))
    document = {
        "unit": "s",
        "rounds": options.rounds,
        "target_s": TARGET_S,
        "median": found,
        "weights": heavy,
        "each": {name: [asdict(start) for start in each] for name, each in starts.items()},
    }
    (out / "cold_start.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
