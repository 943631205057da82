"""How long the console's first page takes until something is painted, with few and with many past cycles.

The deployed entry point under functions-framework's own server (gunicorn), Google's client over HTTP to a bucket whose every call takes as long
as it is told, and a headless Chromium that has nothing cached. The bucket is that of `bench-scale`: past cycles are the goldens of a release
under other numbers. Run as `python -m tests.benchmarks.console`; ten thousand cycles take some minutes to write.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from infra.processes import ROOT, environment
from shared.dir_store import DirStore
from shared.testing.builders import CALLS
from shared.testing.clock import FakeClock
from tests.benchmarks.collector.processes import END_S, HOST, READY_S
from tests.benchmarks.collector.slow_store import BUCKET, SlowStore, slow_store
from tests.benchmarks.scale.state import Size, first_moment, write_bucket
from tests.browser.page import Browser, find_browser

ENTRY = ROOT / "functions" / "dashboard" / "main.py"
EVENTS = 1000
CYCLES = (10, 10_000)
LATENCIES_MS = (0.0, 20.0)
COLD, WARM = 3, 15
TARGET_S = 1.0
_LOOK_S = 0.005
_PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"
_TIMES = """JSON.stringify((() => {
    const page = performance.getEntriesByType('navigation')[0];
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    return {paint_s: paint.startTime / 1000, answer_s: (page.responseEnd - page.requestStart) / 1000, size_bytes: page.decodedBodySize};
})())"""


@dataclass(frozen=True)
class Look:
    """One opening of the first page.

    Attributes:
        paint_s: from the navigation's start to the first contentful paint.
        answer_s: from the request to the last byte of the page.
        cpu_s: of the function's processors.
        calls: of the store.
        size_bytes: of the page.
    """

    paint_s: float
    answer_s: float
    cpu_s: float
    calls: int
    size_bytes: int


class Function:
    """The console in processes of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.url = f"http://{HOST}:{port}/"

    def cpu_s(self) -> float:
        """Return the processor time so far."""
        parent = psutil.Process(self._process.pid)
        times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
        return sum(each.user + each.system for each in times)


@contextmanager
def console(variables: Mapping[str, str], log: Path) -> Iterator[Function]:
    """Serve the console while the block runs, which begins when its port is open: no request has been answered yet."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    script = "from functions_framework._cli import _cli; _cli()"
    command = [sys.executable, "-c", script, "--target", "entry", "--source", str(ENTRY), "--host", HOST, "--port", str(port)]
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment(variables), cwd=ROOT) as process:
        try:
            _wait_for_port(process, port, log)
            yield Function(process, port)
        finally:
            process.terminate()
            process.wait(END_S)


def _wait_for_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection((HOST, port), timeout=READY_S).close()
        except OSError:
            time.sleep(_LOOK_S)
        else:
            return
    raise TimeoutError(f"{log}: expected a function to listen within {READY_S:g} s, found it says: {log.read_text()[-2000:]}")


def look(browser: Browser, function: Function, store: SlowStore) -> Look:
    """Open the first page once, with nothing cached."""
    cpu_s, calls = function.cpu_s(), _calls(store)
    with browser.page() as page:
        page.open(function.url)
        page.wait_for(_PAINTED)
        found = json.loads(page.evaluate(_TIMES))
        assert page.evaluate("document.querySelectorAll('main section').length > 5"), page.text()[:500]
    return Look(**found, cpu_s=function.cpu_s() - cpu_s, calls=_calls(store) - calls)


def _calls(store: SlowStore) -> int:
    return int(sum(number for kind, number in store.counts().items() if kind in {"reads", "lists"}))


@dataclass(frozen=True)
class Row:
    """What was found at one number of past cycles and one latency; medians.

    Attributes:
        cold: the first request of a new instance, with the imports that it waits for.
        warm: later ones.
        most_s: the slowest first paint of the later ones.
    """

    cycles: int
    latency_ms: float
    cold: Look
    warm: Look
    most_s: float

    @property
    def met(self) -> bool:
        """The first paint of a warm instance is within the target."""
        return self.warm.paint_s < TARGET_S


def written(parent: Path, cycles: int) -> Path:
    """Return a folder with a bucket of so many past cycles: written now, or whole from before."""
    folder = parent / f"cycles-{cycles}"
    done = folder / "whole"
    if not done.exists():
        size = Size(EVENTS, cycles, compacted=True)
        clock = FakeClock(first_moment(size))
        write_bucket(DirStore(folder / BUCKET, clock), clock, size)
        done.touch()
    return folder


def measure(browser: Browser, folder: Path, cycles: int, latency_ms: float, store: SlowStore) -> Row:
    """Measure new instances, then the last of them at work."""
    variables = {
        "STORAGE_EMULATOR_HOST": store.url,
        "PUBSUB_EMULATOR_HOST": f"{HOST}:1",
        "GOOGLE_CLOUD_PROJECT": "bench",
        "RETUNE_BUCKET": f"gs://{BUCKET}",
        "RETUNE_AUDIO_PREFIXES": CALLS,
        "THREADS": "20",
    }
    store.set_latency(latency_ms / 1000)
    cold, warm = [], []
    for number in range(COLD):
        with console(variables, folder / "console.log") as function:
            cold.append(look(browser, function, store))
            if number == COLD - 1:
                warm = [look(browser, function, store) for _ in range(WARM)]
    return Row(cycles, latency_ms, _middle(cold), _middle(warm), max(each.paint_s for each in warm))


def _middle(looks: list[Look]) -> Look:
    def middle(of: Callable[[Look], float]) -> float:
        return median(map(of, looks))

    return Look(
        paint_s=middle(lambda each: each.paint_s),
        answer_s=middle(lambda each: each.answer_s),
        cpu_s=middle(lambda each: each.cpu_s),
        calls=round(middle(lambda each: each.calls)),
        size_bytes=round(middle(lambda each: each.size_bytes)),
    )


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    head = "| past cycles | a call takes | | first paint | page answered | function's processor | calls | page |"
    lines = [head, "|" + "---|" * 8]
    for row in rows:
        for name, each in (("new instance", row.cold), (f"later ({WARM}; slowest {row.most_s:.2f} s)", row.warm)):
            shown = f"{each.paint_s:.2f} s | {each.answer_s:.2f} s | {1000 * each.cpu_s:.0f} ms | {each.calls} | {each.size_bytes / 1024:.0f} KiB"
            lines.append(f"| {row.cycles:,} | {row.latency_ms:g} ms | {name} | {shown} |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; the exit code says whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", default=",".join(map(str, CYCLES)), help="numbers of past cycles")
    parser.add_argument("--latencies-ms", default=",".join(map(str, LATENCIES_MS)), help="how long a call of the store takes")
    parser.add_argument("--folder", type=Path, help="write the buckets here, and use those that are there from an earlier run")
    parser.add_argument("--only-write", action="store_true", help="write the buckets and measure nothing")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    executable = find_browser()
    if executable is None:
        print("the console is not measured: no Chromium or Chrome is installed; name one in RETUNE_BROWSER", file=sys.stderr)
        return 0
    rows = []
    with TemporaryDirectory() as name:
        folders = [written(chosen.folder or Path(name), cycles) for cycles in map(int, chosen.cycles.split(","))]
        if chosen.only_write:
            return 0
        browser = Browser(executable, Path(name))
        try:
            for cycles, folder in zip(map(int, chosen.cycles.split(",")), folders, strict=True):
                with slow_store(folder) as store:
                    rows += [measure(browser, folder, cycles, float(ms), store) for ms in chosen.latencies_ms.split(",")]
        finally:
            browser.close()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {browser.version}\n\n{table(rows)}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
