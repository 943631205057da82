"""How long a fresh interpreter takes to import each function's entry point: what a cold start adds to the first message.

The functions take turns, so that whatever else the machine does falls on all of them alike; the interpreter's own start is not counted.
Run as `python -m tests.benchmarks.import_time`; each should stay below a second on an idle core.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from functions.wiring import READS
from infra.bundle import ROOT

ROUNDS = 5
PROGRAM = "import time; started = time.perf_counter(); import functions.{function}.main; print(time.perf_counter() - started)"


def import_time_s(function: str) -> float:
    """Import a function's entry point in a fresh interpreter and return how long that took, in seconds."""
    command = [sys.executable, "-c", PROGRAM.format(function=function)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout)


def main() -> None:
    """Print and store the medians."""
    for function in READS:
        import_time_s(function)  # compiles what has changed and fills the page cache
    rounds = [{function: import_time_s(function) for function in READS} for _ in range(ROUNDS)]
    medians = {function: median(times[function] for times in rounds) for function in READS}
    for function, seconds in medians.items():
        print(f"import_{function}: {seconds:.3f} s")
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    document = {"rounds": ROUNDS, "unit": "s", "median": medians, "each": rounds}
    (folder / "import_time.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
