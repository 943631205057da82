"""Breaks single decisions of the product, one at a time, and says what shows it: `python -m tests.chaos.mutations`.

Beside each stands what shows it: the seed of a history of the simulation, or the test that fails. What the simulation does not show is
hidden there by what follows in its place (a sweep a minute later, a redelivery), or no drawn history comes to it; a test knows it then.
`--search 200` looks for histories instead.
"""

import argparse
import importlib
import inspect
import io
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.runner import run
from tests.chaos.schedule import generate

ROOT = Path(__file__).parents[2]
LONGEST = 70

FOUND = "tests/property/test_found_by_mutation.py"
LOOP = "tests/unit/test_loop_in_memory.py"
NEEDS = "tests/unit/test_sweeper_decide.py"
STOOD_STILL = f"{NEEDS}::test_what_has_stood_still_for_the_lease_is_moved_on_and_not_a_second_earlier"
AGAIN = "tests/unit/test_registry.py::test_what_was_applied_is_not_applied_again_and_tells_the_same_event"
TRACES = "tests/property/test_traces.py"

APPLIED = """    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
"""
NOT_APPLIED = APPLIED.replace("command.cause", "''")


@dataclass(frozen=True)
class Mutation:
    """A piece of a module's source, and what stands there instead.

    Attributes:
        shown_by: the seed of a history whose books do not balance then, or the id of a test that fails.
    """

    module: str
    old: str
    new: str
    shown_by: int | str

    def __str__(self) -> str:
        return f"{self.module}: {_short(self.old)} -> {_short(self.new)}"


def _short(code: str) -> str:
    text = " ".join(code.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


MUTATIONS = tuple(
    Mutation(module, *change)
    for module, changes in {
        "functions.launcher.opening": (
            ("    return result is not None", "    return False", 9),
            ("    if announce_result(ports, cycle):", "    if False:", 9),
            (
                "    deps.trainers.delete(TrainerRun(cycle, state.attempt).name)\n",
                "",
                f"{LOOP}::test_a_silent_trainer_is_interrupted_although_its_machine_lives",
            ),
            (
                "    if not present.wants_trainer(run.attempt):",
                "    if False:",
                f"{FOUND}::test_a_launcher_that_was_overtaken_by_a_cancel_ends_the_trainer_that_it_started",
            ),
            ("    move_head(ports.store, cycle)\n", "", 4),
            (
                "    if before is not None and not before.ended:",
                "    if False:",
                f"{FOUND}::test_a_request_beside_a_cycle_that_stands_still_carries_that_on_at_once",
            ),
            ("    if known is not None:", "    if False:", 64),
            (
                "if isinstance(event, ThresholdCrossed) and event.cycle != head:",
                "if False:",
                f"{FOUND}::test_a_stale_crossing_says_nothing_of_the_cycle_that_collects",
            ),
            (
                "    while state is not None and state.ended:",
                "    while False:",
                f"{TRACES}::test_trace_3_a_new_request_also_moves_the_head_past_a_cancelled_cycle",
            ),
        ),
        "functions.launcher.handler": (
            (
                "        move_head(deps.ports.store, cycle)\n",
                "",
                f"{TRACES}::test_trace_3_a_cancel_that_dies_between_state_and_head_is_finished_by_its_redelivery",
            ),
            (
                "        deps.trainers.delete(TrainerRun(cycle, state.attempt).name)\n",
                "",
                f"{FOUND}::test_a_cancel_ends_the_trainer_at_once",
            ),
            (
                "    if announce_result(ports, event.cycle):",
                "    if False:",
                "tests/property/test_found_by_simulation.py::test_a_trainer_that_takes_its_result_for_lost_is_judged_on_it",
            ),
        ),
        "functions.launcher.decide": (
            (
                "if state is None or state.attempt != attempt:",
                "if state is None:",
                "tests/unit/test_launcher_decide.py::test_news_of_another_attempt_or_of_an_unknown_cycle_are_ignored",
            ),
        ),
        "functions.deployer.handler": (
            ("    if _completed_before(ports, event.event_id):", "    if False:", 50),
            (
                "            complete(ports, production.last)\n",
                "            pass\n",
                "tests/property/test_deployer_faults.py::test_a_move_that_was_not_completed_is_completed_by_whatever_comes_next",
            ),
            ("        complete(ports, last)\n        return", "        return", 2),
            (
                "    if isinstance(decision, Stale) and",
                "    if False and",
                f"{LOOP}::test_evidence_against_a_champion_that_changed_is_stale",
            ),
            ("    create(ports.store, keys.registry_log(last.seq), document_bytes(last))\n", "", 1),
        ),
        "functions.sweeper.decide": (
            ("Need.ANNOUNCE_RESULT, stands_still", "Need.ANNOUNCE_RESULT, False", STOOD_STILL),
            ("stands_still and policy.auto_deploy", "False", STOOD_STILL),
            ("(Need.RELAUNCH, True)", "(Need.RELAUNCH, False)", 43),
            ("(Need.INTERRUPT, True) if hopeless else ", "", 62),
            (
                "    if silent_s > policy.heartbeat_timeout_s:",
                "    if False:",
                f"{NEEDS}::test_a_trainer_is_silent_from_its_start_or_its_last_sign_of_life",
            ),
            (
                "    if not trainer_lives:",
                "    if False:",
                f"{NEEDS}::test_a_trainer_that_is_gone_without_a_result_is_an_interruption_at_once",
            ),
        ),
        "functions.sweeper.handler": (
            ("state is None or not state.wants_trainer(run.attempt)", "state is None", 6),
            ("            deps.trainers.delete(run.name)\n", "", 6),
            ("range(max(head - 1, FIRST_CYCLE), head + 1)", "range(head, head + 1)", 14),
        ),
        "functions.validator.handler": (
            (
                "state.attempt != event.attempt:\n            return Decision",
                "False:\n            return Decision",
                "tests/property/test_validator_faults.py::test_a_completion_of_another_attempt_judges_nothing",
            ),
        ),
        "shared.cas": (
            (
                "found.metadata.get(WRITE_ID) == write_id",
                "False",
                "tests/unit/test_cas.py::test_a_write_whose_reply_was_lost_is_known_as_ours_and_not_sent_again",
            ),
            (
                "if isinstance(lost, Conflict) or (found",
                "if (found",
                "tests/unit/test_cas.py::test_a_generation_that_is_gone_is_a_conflict",
            ),
            (
                "info.generation if found else ABSENT\n",
                "info.generation if found else None\n",
                "tests/unit/test_cas.py::test_what_another_creates_meanwhile_is_decided_on_and_not_overwritten",
            ),
        ),
        "shared.ledger": (("        cycle = head.read(store)\n", "", 100),),
        "shared.compaction": (
            (
                "        if info.key in pending:\n            store.delete(info.key)\n",
                "        pass\n",
                f"{TRACES}::test_trace_7_a_compactor_that_dies_before_its_deletes_then_two_more_compactions",
            ),
            (
                "[info for info in segments if info.key not in pending][:MOST_FOLDED]",
                "segments[:MOST_FOLDED]",
                f"{TRACES}::test_trace_7_a_compactor_that_dies_before_its_deletes_then_two_more_compactions",
            ),
        ),
        "shared.registry": (
            (f"{APPLIED}    if now.stable == version", f"{NOT_APPLIED}    if now.stable == version", AGAIN),
            (f"{APPLIED}    if version == now.stable", f"{NOT_APPLIED}    if version == now.stable", 94),
            (f"{APPLIED}    canary = now.canary", f"{NOT_APPLIED}    canary = now.canary", AGAIN),
        ),
    }.items()
    for change in changes
)


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Give every function of the module the code that the changed source has; whoever imported one has that too."""
    module = importlib.import_module(mutation.module)
    source = inspect.getsource(module)
    if source.count(mutation.old) != 1:
        raise ValueError(f"{mutation}: expected this once in the module's source, found it {source.count(mutation.old)} times")
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
    """Return which seed shows the mutation, and how; empty = none."""
    with planted(mutation):
        for seed in seeds:
            if breaches := run(generate(seed)).breaches:
                return f"seed {seed}: {breaches[0]}"
    return ""


def fails(test: str, mutation: Mutation | None) -> bool:
    """Tell whether a test fails with a mutation planted; in a process of its own, since pytest leaves much behind.

    Raises:
        ValueError: there is no such test, or it could not be run.
    """
    said = io.StringIO()
    with nullcontext() if mutation is None else planted(mutation), redirect_stdout(said):
        ended = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), f"{ROOT}/{test}"])
    if ended not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise ValueError(f"{test}: expected it to pass or to fail, found {ended!r}:\n{said.getvalue()}")
    return ended == pytest.ExitCode.TESTS_FAILED


def check(mutation: Mutation) -> str:
    """Return how what stands beside a mutation shows it; empty = it does not, or goes wrong without it too."""
    shown_by = mutation.shown_by
    if isinstance(shown_by, int):
        return "" if run(generate(shown_by)).breaches else look(mutation, (shown_by,))
    return shown_by if fails(shown_by, mutation) and not fails(shown_by, None) else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant each mutation in turn; return how many survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--search", type=int, default=0, help="look at so many histories instead of what stands beside each mutation")
    parser.add_argument("--only", default="", help="mutations whose text holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    chosen = [mutation for mutation in MUTATIONS if options.only in str(mutation)]
    shows = partial(look, seeds=range(1, options.search + 1)) if options.search else check
    survived = 0
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for mutation, shown in zip(chosen, pool.map(shows, chosen), strict=True):
            survived += not shown
            print(f"{'found   ' if shown else 'SURVIVES'} {mutation}\n           {shown[:200]}", flush=True)
    where = f"within {options.search} histories" if options.search else "by what stands beside them"
    print(f"{len(chosen) - survived} of {len(chosen)} found {where}")
    return survived


if __name__ == "__main__":
    sys.exit(main())
