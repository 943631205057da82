"""A run whose budget is spent is stopped, whatever happens meanwhile: nothing is left that costs, and no result is thrown away."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.launcher.handler import handle as launch
from functions.launcher.trainers import NoCapacity, TrainerRun
from functions.sweeper.handler import sweep
from shared import keys
from shared.budget import BudgetPolicy
from shared.cas import apply_with_cas, find
from shared.cycle import CODEC, Status, decide_begin_training
from shared.events import TrainingPreempted
from shared.machine import Machine
from shared.testing import builders
from tests.faults import INJECTIONS, Killed, heal, outcome_of
from tests.interleave import interleave
from tests.world import POLICY, World, right, wrong

BUDGET = BudgetPolicy(max_gpu_hours=1)
TEXT = "budget of 1.00 GPU-hours in 30 days"
STOPPED = (
    f"stopped: {TEXT}: 1.50 spent, 1.50 of it by this cycle. "
    "Its errors wait for the next cycle: raise policy.budget.max_gpu_hours, or wait until the window frees enough (`retune explain`)"
)
HOUR_S = 3600.0


def training(hours: float, budget: BudgetPolicy = BUDGET) -> tuple[World, TrainerRun]:
    """Return a world whose first cycle has been training for so long, with a heartbeat just now."""
    made = small_world(budget)
    (run,) = made.trainers.runs.values()
    assert made.begin(run) == ""
    beats(made, run, hours)
    return made, run


def small_world(budget: BudgetPolicy) -> World:
    """Return a world in which the trainer of the first cycle has been started, on little data."""
    made = World(POLICY.model_copy(update={"budget": budget, "min_error_cases": 12, "holdout_share": 0.5}))
    made.install_model()
    made.record_calls(range(150))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(12)), *(builders.error(n) for n in range(12)))
    made.settle()
    return made


def beats(made: World, run: TrainerRun, hours: float) -> None:
    """Let the trainer work on, with a heartbeat a second before the end."""
    made.clock.advance(hours * HOUR_S - 1)
    made.trainer(run).beat()
    made.clock.advance(1)


def set_budget(made: World, budget: BudgetPolicy) -> None:
    made.deploy(made.ports.settings.policy.model_copy(update={"budget": budget}))


def logged(capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if text in line]


def path(made: World) -> list[Status]:
    return [entry.status for entry in made.state(1).history]


S = Status
STOP = [S.PREPARING, S.TRAINING, S.INTERRUPTED, S.FAILED]


def test_a_run_that_passes_the_limit_is_stopped_with_its_reason() -> None:
    made, _ = training(1.5)
    sweep(made.deps)
    assert path(made) == STOP
    assert made.state(1).reason == STOPPED
    assert made.trainers.list_names() == []
    made.tick()
    assert path(made) == STOP, "nobody tries again"


def test_within_the_limit_it_goes_on_and_is_warned_of_from_four_fifths_on(capsys: pytest.CaptureFixture[str]) -> None:
    made, run = training(0.75)
    sweep(made.deps)
    assert logged(capsys, '"severity": "WARNING"') == []
    beats(made, run, 0.1)
    sweep(made.deps)
    (line,) = logged(capsys, '"severity": "WARNING"')
    assert f"cycle 1 is stopped when its budget is spent: 85% of the {TEXT}: 0.85 spent, 0.85 of it by this cycle" in line
    assert path(made) == [S.PREPARING, S.TRAINING]


def test_without_a_budget_nothing_is_stopped() -> None:
    made, _ = training(1000, BudgetPolicy())
    sweep(made.deps)
    assert path(made) == [S.PREPARING, S.TRAINING]


def test_what_earlier_cycles_spent_counts() -> None:
    made, run = training(0.6)
    made.trainer(run).fail("bad_dataset")
    made.settle()
    made.tick()
    made.publish(*(builders.error(n) for n in range(60, 75)))
    made.settle()
    assert find(made.store, keys.state(2)) is None, "held: 0.6 spent, 0.6 expected"
    set_budget(made, BudgetPolicy(max_gpu_hours=1.25))
    made.tick(HOUR_S)
    (second,) = made.trainers.runs.values()
    assert made.begin(second) == ""
    beats(made, second, 0.6)
    sweep(made.deps)
    assert made.state(2).status == S.TRAINING, "1.2 of 1.25"
    beats(made, second, 0.1)
    sweep(made.deps)
    assert made.state(2).status == S.FAILED
    assert "budget of 1.25 GPU-hours in 30 days: 1.30 spent, 0.70 of it by this cycle" in made.state(2).reason


def test_a_run_on_spot_lasts_longer_for_the_same_money() -> None:
    budget = BudgetPolicy.model_validate({"max_usd": 1.0, "prices": {"g2-standard-8": {"spot": 0.4, "standard": 1.1}}})
    for provisioning, status in (("spot", S.TRAINING), ("standard", S.FAILED)):
        made = small_world(budget)
        (run,) = made.trainers.runs.values()
        machine = Machine.model_validate({"machine_type": "g2-standard-8", "provisioning": provisioning})
        begin = partial(decide_begin_training, attempt=1, at=made.clock.now(), cause="start", machine=machine)
        apply_with_cas(made.store, keys.state(1), CODEC, begin)
        beats(made, run, 2.0)
        sweep(made.deps)
        assert made.state(1).status == status


def test_a_result_that_stands_is_paid_for_and_is_judged() -> None:
    made, run = training(1.5)
    made.bus.fail_publishes()
    assert made.trainer(run).finish(wrong, right) == "completed"
    made.tick()
    assert made.state(1).status == S.DEPLOYED


def test_a_result_that_comes_while_the_run_is_stopped_is_judged() -> None:
    made, run = training(1.5)

    def finish_before_the_interruption(operation: str, key: str) -> None:
        if (operation, key) == ("put", keys.state(1)):
            made.store.before = lambda _operation, _key: None
            assert made.trainer(run).finish(wrong, right) == "completed"

    made.store.before = finish_before_the_interruption
    sweep(made.deps)
    made.settle()
    assert made.state(1).status == S.DEPLOYED
    assert made.trainers.list_names() == []


def test_the_last_words_of_a_stopped_trainer_start_nothing() -> None:
    """The machine is told to end, its trainer says that it was taken away, and the launcher hears that before the sweeper goes on."""
    made, run = training(1.5)
    delete = made.trainers.delete

    def delete_and_hear(name: str) -> None:
        made.trainers.delete = delete  # type: ignore[method-assign]
        delete(name)
        made.trainer(run).preempt()
        made.settle()

    made.trainers.delete = delete_and_hear  # type: ignore[method-assign]
    sweep(made.deps)
    assert path(made) == STOP
    assert made.trainers.started == [run.name]


def test_a_preempted_run_whose_budget_is_spent_is_not_started_again() -> None:
    made, run = training(1.5)
    made.trainer(run).preempt()
    made.settle()
    assert path(made) == STOP
    assert made.trainers.started == [run.name]


def test_a_cycle_that_waits_for_a_machine_ends_when_the_budget_is_lowered() -> None:
    made, run = training(0.9)
    made.trainers.answer = NoCapacity("no L4 in 9 zones")
    made.trainer(run).preempt()
    made.settle()
    assert made.state(1).status == S.WAITING_FOR_CAPACITY
    set_budget(made, BudgetPolicy(max_gpu_hours=0.5))
    made.tick()
    assert made.state(1).status == S.FAILED
    assert made.state(1).reason.startswith("stopped: budget of 0.50 GPU-hours in 30 days: 0.90 spent")


def test_a_budget_that_is_raised_while_the_run_is_stopped_lets_it_go_on() -> None:
    made, _ = training(1.5)
    INJECTIONS["dies after a write"](made.store, 1)
    outcome_of(lambda: sweep(made.deps))
    heal(made.store)
    assert made.state(1).status == S.INTERRUPTED
    set_budget(made, BudgetPolicy(max_gpu_hours=9))
    made.tick()
    assert (made.state(1).status, made.state(1).attempt) == (S.PREPARING, 2)


@pytest.mark.parametrize("fault", INJECTIONS)
def test_whatever_strikes_the_next_ticks_end_where_an_undisturbed_one_would(fault: str) -> None:
    struck, number = True, 0
    while struck:
        number += 1
        made, _ = training(1.5)
        fuse = INJECTIONS[fault](made.store, number)
        outcome_of(partial(sweep, made.deps))
        heal(made.store)
        struck = fuse.struck
        number += number // 8  # reads are many, and one after another is much the same
        for _ in range(2):
            made.tick(1)
        assert path(made) == STOP, (fault, number)
        assert made.state(1).reason == STOPPED
        assert made.trainers.list_names() == []
    assert number > 2, "nothing was ever struck"


schedules = st.lists(st.integers(0, 1), max_size=40)
Some = settings(max_examples=40, deadline=None)


def stop_beside(schedule: list[int], beside: Callable[[World, TrainerRun], object]) -> World:
    made, run = training(1.5)
    interleave(made.store, schedule, lambda: sweep(made.deps), lambda: beside(made, run))
    made.store.before = lambda _operation, _key: None
    made.settle()
    made.tick()
    assert made.trainers.list_names() == []
    assert made.trainers.started == [run.name], "no second attempt began"
    return made


@Some
@given(schedules)
def test_a_trainer_that_finishes_beside_the_stop_is_judged_or_has_written_nothing(schedule: list[int]) -> None:
    def finish_while_it_lives(made: World, run: TrainerRun) -> object:
        mine = threading.current_thread()

        waits_for_its_turn = made.store.before

        def die_with_the_machine(operation: str, key: str) -> None:
            waits_for_its_turn(operation, key)
            if threading.current_thread() is mine and run.name not in made.trainers.runs:
                raise Killed("its machine is gone")

        made.store.before = die_with_the_machine
        return made.trainer(run).finish(wrong, right)

    made = stop_beside(schedule, finish_while_it_lives)
    written = any(True for _ in made.store.list(keys.result(1)))
    assert made.state(1).status == (S.DEPLOYED if written else S.FAILED)


@Some
@given(schedules)
def test_a_launcher_that_hears_of_the_end_beside_the_stop_starts_nothing(schedule: list[int]) -> None:
    def hear(world: World, run: TrainerRun) -> object:
        event = TrainingPreempted(event_id="gone", occurred_at=world.clock.now(), cycle=run.cycle, attempt=run.attempt)
        return launch(builders.message(event), world.deps)

    assert path(stop_beside(schedule, hear)) == STOP
