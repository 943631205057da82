"""The collector beside a function that does nothing and the usual way, in one run.

    python -m tests.benchmarks.collector [--latency-ms 0,40] [--concurrent 1,8,64,256] [--rounds 3] [--threads 256] [--out FILE]

(a) a function that does nothing, with threads as functions-framework serves by default, (a') the same on an event loop, (b) the collector,
(c) one object and one raised counter for each event. All under functions-framework's own server; one worker. In each round every cell is
measured once, the variants of a cell one right after another, since the machine is noisy: read the ratios.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.processes import ROOT, environment
from shared.policy import Policy
from tests.benchmarks.collector.figures import SERVED, Cell, Figures, Variant, median_of, percentile, targets_of
from tests.benchmarks.collector.load import Load
from tests.benchmarks.collector.paced import Pace
from tests.benchmarks.collector.processes import PACKAGE, FunctionServer, Used, function_server
from tests.benchmarks.collector.report import UNITS, as_document, lines_of, prefix_of, table_of, targets_table
from tests.benchmarks.collector.slow_store import BUCKET, KINDS, SlowStore, slow_store
from tests.benchmarks.collector.through_bus import Published

HERE = Path(__file__).parent
SOURCES: dict[Variant, Path] = {
    "a_nothing": HERE / "nothing.py",
    "a_nothing_async": HERE / "nothing_async.py",
    "b_collector": ROOT / "functions" / "collector" / "main.py",
    "c_per_event": HERE / "usual.py",
}
NEVER = 10**9
"""No threshold is crossed: who is told is no part of this."""
LOOK_S = 0.25
ALONE = 20
PER_MINUTE = {1: 20, 100: 100, 10_000: 2_500}
"""Errors a minute, and of how many of them store calls are counted. At one a minute each is the only one in its interval of counting;
it is measured with an interval of 0 and pauses of half a second."""


class Bench:
    """One run: a store, and a function at a time."""

    def __init__(self, options: argparse.Namespace, folder: Path, store: SlowStore) -> None:
        self._options, self._folder, self._store = options, folder, store
        self._first_ids = count(1, 10_000_000)
        self.rounds: dict[Cell, list[Figures]] = defaultdict(list)

    def variables(self, **more: str) -> dict[str, str]:
        """Return a function's environment."""
        policy = Policy(min_error_cases=NEVER, min_corrected_cases=NEVER).model_dump_json(exclude_defaults=True)
        return {
            "THREADS": str(self._options.threads),
            "WORKERS": str(self._options.workers),
            "STORAGE_EMULATOR_HOST": self._store.url,
            "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
            "GOOGLE_CLOUD_PROJECT": "retune-bench",
            "RETUNE_BUCKET": f"gs://{BUCKET}",
            "RETUNE_AUDIO_PREFIXES": "gs://calls",
            "RETUNE_POLICY": policy,
            **more,
        }

    @contextmanager
    def served(self, variant: Variant, **more: str) -> Iterator[FunctionServer]:
        """Serve a variant."""
        with function_server(SOURCES[variant], self._folder / f"{variant}.log", self.variables(**more)) as server:
            yield server

    def measure(self, cell: Cell) -> Figures:
        """Load a fresh server of the cell's variant."""
        self._store.set_latency(cell.latency_ms / 1000)
        slow = cell.variant == "c_per_event" and cell.latency_ms > 0
        window_s = self._options.window * (3 if slow else 1)
        with self.served(cell.variant) as server:
            load = Load(server.port, cell.concurrent, self._options.warm, window_s, 0.5 if slow else 10.0, next(self._first_ids))
            used, calls = server.used(), self._store.counts()
            result, memory = self._run("load", asdict(load), server)
            return _figures(result, _since(used, server.used()), memory, _calls_since(calls, self._store.counts()))

    def paced(self, latency_ms: int, gap_s: float, events: int, *, poisson: bool, **more: str) -> dict[str, float]:
        """Let reports come at a rate; return latencies and calls for 1,000 events."""
        self._store.set_latency(latency_ms / 1000)
        with self.served("b_collector", **more) as server:
            self._run("paced", asdict(Pace(server.port, 0.3, poisson=False, events=2, first_id=next(self._first_ids))), server)  # warm
            calls = self._store.counts()
            result, _ = self._run("paced", asdict(Pace(server.port, gap_s, poisson, events, next(self._first_ids))), server)
            used = _calls_since(calls, self._store.counts())
        latencies = sorted(result["latencies_s"])
        return {
            "p50_ms": percentile(latencies, 0.5) * 1000,
            "p99_ms": percentile(latencies, 0.99) * 1000,
            **{f"{kind}_per_1000": used[kind] * 1000 / events for kind in KINDS},
            "refused": result["refused"],
        }

    def through_bus(self, variant: Variant, latency_ms: int, events: int) -> dict[str, float]:
        """Publish events and wait until all are acknowledged."""
        self._store.set_latency(latency_ms / 1000)
        with self.served(variant) as server:
            self._run("paced", asdict(Pace(server.port, 0.3, poisson=False, events=2, first_id=next(self._first_ids))), server)
            used, calls = server.used(), self._store.counts()
            result, memory = self._run("through_bus", asdict(Published(server.port, events)), server)
            now, made = _since(used, server.used()), _calls_since(calls, self._store.counts())
        return {
            "events_per_s": events / result["seconds"],
            "cpu_s_per_1000": now.cpu_s * 1000 / events,
            "memory_mib": memory / 2**20,
            **{f"{kind}_per_1000": made[kind] * 1000 / events for kind in KINDS},
        }

    def _run(self, module: str, document: Mapping[str, Any], server: FunctionServer) -> tuple[Any, int]:
        """Run a helper process; return what it says and the most memory that the function held meanwhile."""
        command = [sys.executable, "-m", f"{PACKAGE}.{module}", json.dumps(document)]
        most = server.used().memory_bytes
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd=ROOT) as process:
            while True:
                try:
                    said, _ = process.communicate(timeout=LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    most = max(most, server.used().memory_bytes)
        if process.returncode:
            raise ChildProcessError(f"{module}: expected an end without errors, found exit code {process.returncode}; see above")
        return json.loads(said), max(most, server.used().memory_bytes)


def _since(before: Used, after: Used) -> Used:
    return Used(after.cpu_s - before.cpu_s, after.memory_bytes)


def _calls_since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after.get(name, 0) - before.get(name, 0) for name in (*KINDS, "cpu_s")}


def _figures(result: Mapping[str, Any], used: Used, memory_bytes: int, calls: Mapping[str, float]) -> Figures:
    thousands = max(1, result["answered"]) / 1000
    return Figures(
        events_per_s=result["events"] / result["window_s"],
        p50_ms=percentile(result["latencies_s"], 0.5) * 1000,
        p99_ms=percentile(result["latencies_s"], 0.99) * 1000,
        writes_per_1000=calls["writes"] / thousands,
        reads_per_1000=calls["reads"] / thousands,
        lists_per_1000=calls["lists"] / thousands,
        cpu_s_per_1000=used.cpu_s / thousands,
        memory_mib=memory_bytes / 2**20,
        generator_cpu=result["cpu_s"] / result["window_s"],
        store_cpu_s_per_1000=calls["cpu_s"] / thousands,
        refused=result["refused"],
        unanswered=result["unanswered"],
    )


def run(bench: Bench, options: argparse.Namespace) -> None:
    """Measure every cell once a round, and say what each round found."""
    for number in range(options.rounds):
        for latency_ms in options.latency_ms:
            for concurrent in options.concurrent:
                for variant in options.variants:
                    cell = Cell(variant, latency_ms, concurrent)
                    figures = bench.measure(cell)
                    bench.rounds[cell].append(figures)
                    print(
                        f"round {number + 1}: {prefix_of(cell)}: {figures.events_per_s:.0f} events/s, p99 {figures.p99_ms:.0f} ms",
                        flush=True,
                    )


def run_others(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a report alone, rates, and the way through Pub/Sub; say each."""
    found: dict[str, Any] = {"alone": {}, "per_minute": {}, "through_bus": {}}
    for latency_ms in options.latency_ms if options.paced else ():
        found["alone"][latency_ms] = bench.paced(latency_ms, 0.5, ALONE, poisson=False, RETUNE_COUNT_INTERVAL_S=str(NEVER))
    for per_minute, events in PER_MINUTE.items() if options.paced else ():
        alone = per_minute == 1
        more = {"RETUNE_COUNT_INTERVAL_S": "0"} if alone else {}
        gap_s = 0.5 if alone else 60 / per_minute
        found["per_minute"][per_minute] = bench.paced(max(options.latency_ms), gap_s, events, poisson=not alone, **more)
    for latency_ms in options.latency_ms if options.bus_events else ():
        for variant in options.variants:
            events = options.bus_events // (10 if variant == "c_per_event" and latency_ms else 1)
            found["through_bus"][f"{variant}.{latency_ms}ms"] = bench.through_bus(variant, latency_ms, events)
    for name, rows in found.items():
        for key, numbers in rows.items():
            for figure, value in numbers.items():
                print(f"collector.{name}.{key}.{figure}: {value:.4g} {UNITS.get(figure, 'requests')}")
    return found


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    numbers = lambda text: tuple(int(part) for part in text.split(","))  # noqa: E731 - argparse calls it a type
    parser = argparse.ArgumentParser(prog=f"python -m {PACKAGE}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=numbers, default=(0, 40), help="how long a call of the store takes, separated by commas")
    parser.add_argument("--concurrent", type=numbers, default=(1, 8, 64, 256), help="requests under way, separated by commas")
    parser.add_argument("--variants", type=lambda text: tuple(text.split(",")), default=tuple(SERVED), help="of " + ",".join(SERVED))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=256, help="THREADS of every function")
    parser.add_argument("--workers", type=int, default=1, help="WORKERS of every function")
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before a window")
    parser.add_argument("--window", type=float, default=2.0, help="seconds that are counted")
    parser.add_argument("--bus-events", type=int, default=3000, help="events through Pub/Sub; 0 = leave that out")
    parser.add_argument("--paced", action=argparse.BooleanOptionalAction, default=True, help="reports alone and at rates")
    parser.add_argument("--out", type=Path, default=Path("bench-results/collector.json"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and store."""
    options, began = options_of(arguments), time.monotonic()
    with TemporaryDirectory() as name, slow_store(Path(name) / "buckets") as store:
        bench = Bench(options, Path(name), store)
        run(bench, options)
        others = run_others(bench, options)
    for cell, found in sorted(bench.rounds.items()):
        print("\n".join(lines_of(prefix_of(cell), median_of(found))))
    targets = targets_of(bench.rounds, max(options.concurrent))
    print("\n".join(["", *table_of(bench.rounds, options.threads), "", *targets_table(targets)]))
    settings = {key: value if isinstance(value, int | float) else str(value) for key, value in vars(options).items()}
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = as_document(bench.rounds, others, {**settings, **machine}, targets)
    options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"\n{options.out}: written after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
