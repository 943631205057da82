"""Breaks single decisions of the product, one at a time, and says which seed of the simulation shows it: `python -m tests.chaos.mutations`.

What survives is not needed, or no history of these seeds comes there, or what follows in its place hides it: the unit and property tests
must know it then, such as `tests/property/test_found_by_mutation.py`.
"""

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos.runner import run
from tests.chaos.schedule import generate


@dataclass(frozen=True)
class Mutation:
    """A piece of a module's source, and what stands there instead."""

    module: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.module}: {' '.join(self.old.split())[:70]} -> {' '.join(self.new.split())[:40]}"


MUTATIONS = tuple(
    Mutation(module, old, new)
    for module, changes in {
        "functions.launcher.opening": (
            ("    return found is not None", "    return False"),
            ("    if announce_result(ports, cycle):", "    if False:"),
            ("    deps.trainers.delete(TrainerRun(cycle, state.attempt).name)\n", ""),
            ("    if not present.wants_trainer(run.attempt):", "    if False:"),
            ("    ledger.move_head(ports.store, cycle)\n", ""),
            ("    if before is not None and not before.ended:", "    if False:"),
            ("    if known is not None:", "    if False:"),
            ("if isinstance(event, ThresholdCrossed) and event.cycle != head:", "if False:"),
            ("    while state is not None and state.ended:", "    while False:"),
        ),
        "functions.launcher.handler": (
            ("        ledger.move_head(deps.ports.store, cycle)\n", ""),
            ("        deps.trainers.delete(TrainerRun(cycle, state.attempt).name)\n", ""),
            ("    if announce_result(ports, event.cycle):", "    if False:"),
        ),
        "functions.launcher.decide": (("if state is None or state.attempt != attempt:", "if state is None:"),),
        "functions.deployer.handler": (
            ("    if _completed_before(ports, event.event_id):", "    if False:"),
            ("            complete(ports, production.last)\n", "            pass\n"),
            ("    complete(ports, last)\n    return", "    return"),
            ("    if stale is not None and", "    if False and"),
            ("    create(ports.store, keys.registry_log(last.seq), document_bytes(last))\n", ""),
        ),
        "functions.sweeper.decide": (
            ("Need.ANNOUNCE_RESULT, stands_still", "Need.ANNOUNCE_RESULT, False"),
            ("stands_still and policy.auto_deploy", "False"),
            ("(Need.RELAUNCH, True)", "(Need.RELAUNCH, False)"),
            ("(Need.INTERRUPT, True) if hopeless else ", ""),
            ("    if silent_s > policy.heartbeat_timeout_s:", "    if False:"),
            ("    if not trainer_lives:", "    if False:"),
        ),
        "functions.sweeper.handler": (
            ("state is None or not state.wants_trainer(run.attempt)", "state is None"),
            ("for cycle in (head - 1, head):", "for cycle in (head,):"),
        ),
        "functions.validator.handler": (
            ("state.attempt != event.attempt:\n            return Decision", "False:\n            return Decision"),
        ),
        "shared.cas": (
            ("found.metadata.get(WRITE_ID) == write_id", "False"),
            ("if isinstance(lost, Conflict) or (found", "if (found"),
            ("info.generation if found else ABSENT\n", "info.generation if found else None\n"),
        ),
        "shared.ledger": (
            ("        if info.key in pending:\n            store.delete(info.key)\n", "        pass\n"),
            ("    fold = [info for info in segments if info.key not in pending]", "    fold = segments"),
        ),
        "shared.registry": (("applied(command.cause)", "applied('')"),),
    }.items()
    for old, new in changes
)


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Give every function of the module the code that the changed source has; whoever imported one has that too."""
    module = importlib.import_module(mutation.module)
    source = inspect.getsource(module)
    if mutation.old not in source:
        raise ValueError(f"{mutation}: expected this in the module's source, found no such text")
    changed: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(source.replace(mutation.old, mutation.new), str(module.__file__), "exec"), changed)
    functions = {name: found for name, found in vars(module).items() if inspect.isfunction(found) and found.__module__ == module.__name__}
    before = {name: found.__code__ for name, found in functions.items()}
    for name, found in functions.items():
        found.__code__ = changed[name].__code__
    try:
        yield
    finally:
        for name, found in functions.items():
            found.__code__ = before[name]


def look(mutation: Mutation, seeds: Sequence[int]) -> str:
    """Return which seed shows the mutation, and how."""
    with planted(mutation):
        for seed in seeds:
            if breaches := run(generate(seed)).breaches:
                return f"seed {seed}: {breaches[0]}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant each mutation in turn; return how many survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="so many histories are looked at")
    parser.add_argument("--only", default="", help="mutations whose text holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    chosen = [mutation for mutation in MUTATIONS if options.only in str(mutation)]
    survived = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for mutation, shown in zip(chosen, pool.map(look, chosen, [range(1, options.seeds + 1)] * len(chosen)), strict=True):
            survived += not shown
            print(f"{'found   ' if shown else 'SURVIVES'} {mutation}\n           {shown[:200]}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} found within {options.seeds} histories")
    return survived


if __name__ == "__main__":
    sys.exit(main())
