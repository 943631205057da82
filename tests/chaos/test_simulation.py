"""The books balance after every seeded history, with a crash on each side of every write; and what breaks them is found and cut down."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest

from functions.deployer import handler as deployer
from shared import keys, ledger
from shared.cas import create
from shared.documents import document_bytes
from shared.events import Event
from shared.head import read_head
from shared.objectstore import ObjectStore
from shared.registry import Move, events_of, state_of
from shared.totals import TOTALS, count_events
from tests.chaos.acts import ACTS
from tests.chaos.coverage import Coverage, crash_everywhere
from tests.chaos.faulty import Point
from tests.chaos.runner import Outcome, run
from tests.chaos.schedule import ACTORS, FAULTS, POLICIES, Fault, Schedule, Step, generate
from tests.chaos.shrink import shrink
from tests.chaos.simulate import folded, main, shrunk, told

SEEDS = (*range(8), 44, 46, 53, 66, 97, 114, 130, 167, 203, 227, 248, 265)
"""The fixed set. Those behind the first eight came together to every side of every write that any of the first 269 seeds came to."""

MUST_MEET = frozenset(
    Point(actor, what)
    for actor, whats in {
        "collector": ("put ledger/<n>/segment-<name>.jsonl", "publish finetune-triggers ThresholdCrossed"),
        "launcher": (
            *(f"put cycles/<n>/state.json ({status})" for status in ("awaiting_approval", "preparing", "interrupted", "cancelled")),
            "put cycles/<n>/state.json (waiting_for_capacity)",
            "put cycles/head.json",
            "put cycles/<n>/dataset.jsonl",
            "put cycles/<n>/spec.json",
            "put cycles/<n>/declined.json",
            "put cycles/<n>/clips/holdout.jsonl",
            "put corpora/holdout/<n>.jsonl",
            "put corpora/audio/<name>",
            "start a trainer",
            "end a trainer",
        ),
        "trainer": (
            "put cycles/<n>/state.json (training)",
            "put models/<n>/model.safetensors",
            "put models/<n>/manifest.json",
            "put runs/<n>/result.json",
            "publish training-events TrainingCompleted",
        ),
        "validator": (
            *(f"put cycles/<n>/state.json ({status})" for status in ("validating", "accepted", "inconclusive")),
            *(f"put verdicts/<n>/{name}" for name in ("closure.jsonl", "report.json", "report.html")),
            "publish validation-events CandidateAccepted",
        ),
        "deployer": (
            *(f"put cycles/<n>/state.json ({status})" for status in ("canary", "deployed", "rolled_back")),
            "put registry/production.json",
            "put registry/log/<n>.json",
            *(f"publish model-events {event}" for event in ("ModelDeployed", "CanaryStarted", "ModelRolledBack")),
        ),
        "sweeper": (
            "put ledger/<n>/part-<name>.jsonl",
            "put ledger/<n>/index.json",
            "delete ledger/<n>/segment-<name>.jsonl",
            "put cycles/<n>/watch.json",
            "put cycles/<n>/state.json (interrupted)",
            "start a trainer",
            "end a trainer",
            "put corpora/resolved/<n>.json",
            "put corpora/suites/fixed/manifest.jsonl",
            "publish training-events TrainingCompleted",
            "publish model-commands RollbackRequested",
            "publish model-events ErrorsResolved",
        ),
    }.items()
    for what in whats
)
"""Where something must have been written, whatever the seeds: a set that comes to less proves less."""


@cache
def covered() -> Coverage:
    return crash_everywhere([generate(seed) for seed in SEEDS], run)


def test_the_books_balance_after_every_history() -> None:
    failed = covered().failed
    assert not failed, told(shrunk(failed[0]))


def test_a_process_has_died_on_each_side_of_every_write() -> None:
    coverage = covered()
    assert not coverage.missing, "nobody died here:\n" + "\n".join(f"{side} {point}" for point, side in coverage.missing)
    unmet = sorted(MUST_MEET - set(coverage.points))
    assert not unmet, "no history of the fixed seeds comes to these:\n" + "\n".join(map(str, unmet))


def test_cycles_end_in_every_way_in_the_fixed_histories() -> None:
    assert covered().ended >= {"deployed", "rolled_back", "inconclusive", "failed", "cancelled"}


@pytest.mark.parametrize("seed", [3, 42])
def test_a_seed_gives_the_same_history_again(seed: int) -> None:
    assert generate(seed) == generate(seed)
    assert run(generate(seed)) == run(generate(seed))


def test_every_act_and_every_fault_is_drawn() -> None:
    steps = [step for seed in range(400) for step in generate(seed).steps]
    assert {step.kind for step in steps if isinstance(step, Step)} == set(ACTS)
    assert {step.kind for step in steps if isinstance(step, Fault)} == set(FAULTS)
    assert {step.actor for step in steps if isinstance(step, Fault)} == {"", *ACTORS}
    assert {generate(seed).policy for seed in range(100)} == set(POLICIES)


# defects that are planted, each found by a rule and cut down


def found_with(target: str, planted: Any, seeds: Sequence[int]) -> Outcome:
    """Return the smallest history that shows a planted defect; it shows nothing without."""
    with patch(target, planted):
        outcome = next((outcome for outcome in (run(generate(seed)) for seed in seeds) if outcome.breaches), None)
        assert outcome is not None, f"no history of seeds {seeds} shows the planted defect"
        smallest = shrunk(outcome)
    assert len(smallest.schedule.steps) <= len(outcome.schedule.steps)
    assert not run(smallest.schedule).breaches
    return smallest


def publish_before_persisting(ports: Any, last: Move) -> None:
    """Complete a move in another order than the protocol's."""
    ports.publish_all(events_of(last))
    if (status := state_of(last)) is not None:
        deployer._mark(ports, last.version, status, cause=last.cause, reason=last.reason)
    create(ports.store, keys.registry_log(last.seq), document_bytes(last))


def test_a_handler_that_publishes_before_it_persists_is_found() -> None:
    smallest = found_with("functions.deployer.handler.complete", publish_before_persisting, range(1))
    assert smallest.schedule.steps == ()  # the first model's promotion shows it
    assert "persist then publish: ModelDeployed was published while move 1 was not in the log" in told(smallest)


def append_without_looking_at_the_head_again(store: ObjectStore, events: Sequence[Event], token: str, *_: object) -> int:
    cycle = read_head(store)
    data = b"".join(event.model_dump_json(exclude_none=True).encode() + b"\n" for event in events)
    ledger._put_segment(store, keys.segment(cycle, token), data, {TOTALS: count_events(events).model_dump_json()})
    return cycle


def test_a_report_that_lands_behind_the_seal_is_found_and_cut_down_to_the_overtaking() -> None:
    smallest = found_with("shared.ledger.append", append_without_looking_at_the_head_again, range(100, 101))
    assert {breach.rule for breach in smallest.breaches} == {"every_report_is_in_its_place"}
    assert [step.kind for step in smallest.schedule.steps if isinstance(step, Fault)] == ["interleave write"]
    assert len(smallest.schedule.steps) <= 6
    assert "collector is overtaken by other messages right before: put ledger/<n>/segment-<name>.jsonl" in told(smallest)


def test_a_machine_that_nobody_ends_is_found_and_cut_down() -> None:
    smallest = found_with("functions.sweeper.handler._reap", lambda _deps, _names: [], range(6, 9))
    assert {breach.rule for breach in smallest.breaches} == {"no_machine_is_left"}
    assert len(smallest.schedule.steps) <= 4


def test_a_cycle_that_nobody_carries_on_never_comes_to_rest() -> None:
    killed = Schedule(1, "everything by itself", (Step("report", 12), Step("deliver", 60), Step("begin"), Step("kill")))
    assert not run(killed).breaches
    with patch("functions.sweeper.handler._carry", lambda _deps, _state, _names: []):
        assert "everything_comes_to_rest" in {breach.rule for breach in run(killed).breaches}


def test_an_exception_that_no_fault_explains_is_found() -> None:
    def broken(*_: object) -> None:
        raise KeyError("cycle")

    smallest = found_with("functions.deployer.handler._mark", broken, range(10))
    assert "handlers_fail_only_with_what_is_expected" in {breach.rule for breach in smallest.breaches}


# the shrinker, by itself


def test_only_what_the_failure_needs_is_left() -> None:
    needed = (Step("report", 3), Fault("crash after", "launcher", nth=2))
    noise = tuple(Step("tick", number) for number in range(1, 20))
    schedule = Schedule(7, "by hand", (*noise[:9], Step("report", 12), *noise[9:], Fault("crash after", "launcher", nth=9)))

    def fails(candidate: Schedule) -> bool:
        reports = any(isinstance(step, Step) and step.kind == "report" and step.number >= 3 for step in candidate.steps)
        return reports and any(isinstance(step, Fault) and step.nth >= 2 for step in candidate.steps)

    assert shrink(schedule, fails) == Schedule(7, "by hand", needed)


def test_cutting_down_ends_after_the_runs_that_it_may_use() -> None:
    asked: list[Schedule] = []

    def fails(candidate: Schedule) -> bool:
        asked.append(candidate)
        return False

    schedule = Schedule(1, "by hand", tuple(Step("tick", number) for number in range(50)))
    assert shrink(schedule, fails, most_runs=11) == schedule
    assert len(asked) == 11


# the command


def test_the_command_says_what_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "5", "--schedules", "3", "--seconds", "0", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 histories in ")  # the time is up at once: one as it was drawn, one with planned crashes
    assert "the books of 2 balance" in said
    assert "more: give it more time" in said


def test_the_command_tells_seed_and_timeline_of_a_failure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployer, "complete", publish_before_persisting)
    assert main(["--seed", "9", "--schedules", "3", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "seed 9, policy" in said
    assert "deployer <- PromoteRequested" in said
    assert "again: python -m tests.chaos.simulate --seed 9 --schedules 1" in said


def test_a_timeline_folds_reports_that_were_only_collected() -> None:
    lines = ["1. report 3", *(f"  05 09:00:00 collector <- SttError e{number}: collected" for number in range(3)), "2. tick 60"]
    assert folded(lines) == [
        "1. report 3",
        "  05 09:00:00 collector <- SttError e0: collected",
        "  ... 2 more were collected",
        "2. tick 60",
    ]
