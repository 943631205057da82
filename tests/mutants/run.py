"""Mutates every decision and says which mutants no test kills: `python -m tests.mutants.run [MODULE...]` (`make mutants`).

Fails where a survivor is not explained in `explained.toml`, and where an explained one does not survive any more.
"""

import argparse
import os
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.mutants.changes import mutants_of
from tests.mutants.explained import EXPLAINED, Verdict, read_explained, verdict
from tests.mutants.session import ROOT, survivors
from tests.mutants.table import TABLE, rows

LINE = "{:<34} {:>8} {:>8} {:>9} {:>10} {:>7}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="paths or patterns; all without")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    args = parser.parse_args()
    reasons = read_explained(EXPLAINED.read_text(encoding="utf-8"), rows(ROOT, TABLE))
    print(LINE.format("module", "mutants", "killed", "survived", "explained", "CPU s"), flush=True)
    good = True
    for module, tests in rows(ROOT, TABLE, args.modules).items():
        before = _cpu_s()
        found = _judge(module, tests, reasons[module], args.jobs)
        counts = (found.mutants, found.killed, found.mutants - found.killed, found.explained)
        print(LINE.format(module, *counts, f"{_cpu_s() - before:.1f}"), flush=True)
        for each in found.unexplained:
            print(f"  no test kills  {each}", flush=True)
        for each in found.stale:
            print(f"  explained, and does not survive  {each}", flush=True)
        good = good and found.good
    return not good


def _judge(module: str, tests: tuple[str, ...], reasons: tuple[str, ...], jobs: int) -> Verdict:
    mutants = mutants_of((ROOT / module).read_text(encoding="utf-8"))
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
        survived = fresh.submit(survivors, module, tests, mutants, jobs).result()
    return verdict(len(mutants), map(str, survived), reasons)


def _cpu_s() -> float:
    """Return what the processes that ended have used: on a busy machine it tells more than a clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
