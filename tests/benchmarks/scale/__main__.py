"""What grows with the events in the open ledger and with past cycles, and what does not.

    python -m tests.benchmarks.scale [--events 100,...] [--cycles 1,...] [--rows-up-to 1000000] [--out bench-results/scale.json]

Every figure comes from a process of its own on a bucket in a folder (`DirStore`), which counts operations. Nothing is asserted.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.bundle import ROOT
from shared.dir_store import DirStore
from shared.testing.clock import FakeClock
from tests.benchmarks.scale.state import Size, first_moment, write_bucket

EVENTS = (100, 1_000, 10_000, 100_000, 1_000_000)
CYCLES = (1, 10, 100, 1_000, 10_000)
FLAT = ("count", "decide", "tick", "status")
LINEAR = ("exact", "seal", "build")
AXES = ("compacted", "segments", "cycles")
FEW_CYCLES, FEW_EVENTS = 10, 1_000
LIMIT_S = 3600


@dataclass(frozen=True)
class Cell:
    """What was measured of one function on one bucket; without a figure, why."""

    size: Size
    name: str
    seconds: float = 0.0
    operations: Mapping[str, int] | None = None
    read_bytes: int = 0
    peak_mib: float = 0.0
    failure: str = ""

    @property
    def calls(self) -> int:
        """All operations together."""
        return sum((self.operations or {}).values())


def measure(folder: Path, size: Size, name: str) -> Cell:
    """Run one function in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.scale.measure", str(folder), json.dumps(asdict(size)), name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return Cell(size, name, failure=f"no end within {LIMIT_S} s")
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        return Cell(size, name, failure=last[0].strip() if last else f"exit code {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Cell(size, name, found["seconds"], found["operations"], found["read_bytes"], found["peak_mib"])


def measured(sizes: Sequence[Size], names: Sequence[str], most_rows: int) -> list[Cell]:
    """Write each bucket once and run every function on it."""
    cells = []
    for size in sizes:
        with TemporaryDirectory() as folder:
            clock = FakeClock(first_moment(size))
            write_bucket(DirStore(Path(folder) / "bucket", clock), clock, size)
            for name in names:
                if name in {*LINEAR, "first"} and size.events > most_rows:
                    continue
                cells.append(measure(Path(folder) / "bucket", size, name))
                print(line_of(cells[-1]), file=sys.stderr)
    return cells


def line_of(cell: Cell) -> str:
    """Return one figure in words."""
    ledger = "compacted" if cell.size.compacted else "segments"
    where = f"{cell.name:7} {cell.size.events:>9,} events ({ledger}), {cell.size.cycles:>6,} cycles"
    if cell.failure:
        return f"{where}: {cell.failure}"
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted((cell.operations or {}).items()))
    return f"{where}: {cell.seconds * 1000:12,.1f} ms, {cell.calls:>6,} operations ({kinds}), {cell.peak_mib:,.0f} MiB"


def table(cells: Sequence[Cell], names: Sequence[str], across: str) -> str:
    """Return a table: a row for each bucket, for each function its time, operations and peak memory."""
    lines = [f"| {across} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    by_size: dict[Size, dict[str, Cell]] = {}
    for cell in cells:
        by_size.setdefault(cell.size, {})[cell.name] = cell
    for size, found in by_size.items():
        lines.append(f"| {getattr(size, across):,} | {' | '.join(_cell(found.get(name)) for name in names)} |")
    return "\n".join(lines)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if cell.failure:
        return cell.failure
    seconds = f"{cell.seconds * 1000:,.1f} ms" if cell.seconds < 1 else f"{cell.seconds:,.1f} s"
    memory = f"; {cell.peak_mib:,.0f} MiB" if cell.name in {*LINEAR, "first", "compact"} else ""
    return f"{seconds}; {cell.calls:,} ops{memory}"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(float(number)) for number in text.split(","))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write all figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=_numbers, default=EVENTS, help="events in the open ledger, with a few past cycles")
    parser.add_argument("--cycles", type=_numbers, default=CYCLES, help="past cycles, with a few events")
    parser.add_argument("--rows-up-to", type=int, default=EVENTS[-1], help="no exact count, seal or dataset of more events")
    parser.add_argument("--axes", default=",".join(AXES), help="which tables, with commas")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results" / "scale.json")
    asked = parser.parse_args(arguments)
    cells: list[Cell] = []
    for axis in asked.axes.split(","):
        title, sizes, names = _axis(axis, asked.events, asked.cycles)
        found = measured(sizes, names, asked.rows_up_to)
        cells += found
        print(f"\n{title}\n\n{table(found, names, 'cycles' if axis == 'cycles' else 'events')}", flush=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    document: list[dict[str, Any]] = [{**asdict(cell), "calls": cell.calls} for cell in cells]
    asked.out.write_text(json.dumps(document, indent=1))


def _axis(axis: str, events: Sequence[int], cycles: Sequence[int]) -> tuple[str, list[Size], tuple[str, ...]]:
    """Return a table's title, its buckets and its functions; what changes a bucket comes last, and `first` is the first exact count ever."""
    few = f"{FEW_CYCLES} past cycles"
    if axis == "compacted":
        return f"Events in the open ledger, compacted, {few}", [Size(number, FEW_CYCLES, True) for number in events], (*FLAT, *LINEAR)
    if axis == "segments":
        sizes = [Size(number, FEW_CYCLES, False) for number in events]
        return f"The same without compaction, and one compaction of it, {few}", sizes, ("count", "decide", "status", *LINEAR, "compact")
    sizes = [Size(FEW_EVENTS, number, True) for number in cycles]
    return f"Past cycles, {FEW_EVENTS:,} events, compacted", sizes, ("first", *FLAT, *LINEAR)


if __name__ == "__main__":
    main()
