"""What the alerts count is what the functions log: each filter sees its own story and not the others."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from shared.budget import BudgetPolicy
from shared.testing import builders
from tests.infra.inventory import GOLDEN
from tests.world import POLICY, World, wrong

_METRIC = re.compile(r'^module\.observability\.google_logging_metric\.this\["(\w+)"\]\n(?:    .*\n)*?    filter = (".*")$', re.MULTILINE)
FILTERS: dict[str, str] = {name: json.loads(text) for name, text in _METRIC.findall(GOLDEN.read_text(encoding="utf-8"))}
Line = dict[str, Any]


def counts(text: str, line: Line) -> bool:
    """Tell whether a filter counts a line: terms of Logging's query language joined by AND, as these filters use it."""
    return all(_holds(term, line) for term in text.split(" AND ") if not term.startswith("resource.type="))


def _holds(term: str, line: Line) -> bool:
    found = re.fullmatch(r"(?:jsonPayload\.)?(\w+)(=~|>=|=|<)(.+)", term)
    assert found, f"another kind of term than this test reads: {term}"
    name, sign, wanted = found.groups()
    value = line.get(name)
    if value is None:
        return False
    if sign == "=~":
        return re.search(json.loads(wanted), str(value)) is not None
    if sign == ">=":
        return float(value) >= float(wanted)
    if sign == "<":
        severities = ["DEBUG", "INFO", "WARNING", "ERROR"]
        return severities.index(str(value)) < severities.index(json.loads(wanted))
    return str(value) in re.findall(r'"(\w[^"]*)"', wanted)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[World], list[Line]]:
    """Return the lines that a world's functions have logged: those of their own, and each handler's outcome."""

    def read(made: World) -> list[Line]:
        logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        outcomes = [dict(zip(("function", "message"), outcome.split(": ", 1), strict=True)) for outcome in made.outcomes]
        # `functions.push` binds the function's name and logs the outcome; the sweeper alone logs how long a cycle has stood.
        return [{"function": "sweeper" if "stood_s" in line else "another", **line} for line in logged] + [
            {"severity": "INFO", **outcome} for outcome in outcomes
        ]

    return read


def world(**policy: object) -> World:
    made = World(POLICY.model_copy(update=policy))
    made.install_model()
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    return made


def counted(found: list[Line]) -> set[str]:
    return {name for name, text in FILTERS.items() if any(counts(text, line) for line in found)}


def test_a_good_cycle_alerts_nobody(lines: Callable[[World], list[Line]]) -> None:
    made = world()
    made.tick()
    made.train(1)
    made.settle()
    made.tick()
    assert counted(lines(made)) == {"swept"}


def test_a_failed_cycle_is_counted(lines: Callable[[World], list[Line]]) -> None:
    made = world()
    made.fail(1, "bad_base_model")
    made.settle()
    made.tick()
    assert counted(lines(made)) == {"swept", "cycle_failed"}


def test_a_cycle_that_stands_still_is_counted_after_six_hours(lines: Callable[[World], list[Line]]) -> None:
    made = world()
    assert made.begin(next(iter(made.trainers.runs.values()))) == ""
    made.tick(6 * 3600 - 60)
    assert "cycle_stuck" not in counted(lines(made))
    made = world(heartbeat_timeout_s=1e9)
    assert made.begin(next(iter(made.trainers.runs.values()))) == ""
    made.tick(6 * 3600)
    assert counted(lines(made)) == {"swept", "cycle_stuck"}


def test_a_cycle_that_waits_for_a_person_is_not_stuck(lines: Callable[[World], list[Line]]) -> None:
    made = world(auto_approve_finetuning=False)
    made.tick(24 * 3600)
    assert counted(lines(made)) == {"swept"}


def test_a_rollback_is_counted(lines: Callable[[World], list[Line]]) -> None:
    made = world()
    made.train(1)
    made.settle()
    made.type("model-commands", '{"rollback": true}')
    made.settle()
    assert "rolled_back" in counted(lines(made))


def test_a_rejected_candidate_is_no_rollback(lines: Callable[[World], list[Line]]) -> None:
    made = world()
    made.train(1, candidate=wrong)
    made.settle()
    made.tick()
    assert counted(lines(made)) == {"swept"}


def test_a_cycle_that_exceeds_the_budget_is_counted(lines: Callable[[World], list[Line]]) -> None:
    made = world(budget=BudgetPolicy(max_gpu_hours=0.001))
    assert made.begin(next(iter(made.trainers.runs.values()))) == ""
    made.clock.advance(3600)
    made.train(1)
    made.settle()
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    assert counted(lines(made)) == {"over_budget"}


def test_a_run_that_is_stopped_for_its_budget_is_counted(lines: Callable[[World], list[Line]]) -> None:
    made = world(budget=BudgetPolicy(max_gpu_hours=0.5), heartbeat_timeout_s=1e9)
    assert made.begin(next(iter(made.trainers.runs.values()))) == ""
    made.tick(1500)
    assert "over_budget" not in counted(lines(made)), "a warning is no stop"
    made.tick(600)
    made.tick()
    assert counted(lines(made)) == {"swept", "cycle_failed", "over_budget"}


def test_a_run_that_is_not_started_again_for_its_budget_is_counted(lines: Callable[[World], list[Line]]) -> None:
    made = world(budget=BudgetPolicy(max_gpu_hours=0.5))
    (run,) = made.trainers.runs.values()
    assert made.begin(run) == ""
    made.clock.advance(2000)
    made.trainer(run).preempt()
    made.settle()
    assert counted(lines(made)) == {"over_budget"}


def test_every_metric_has_its_story() -> None:
    assert FILTERS.keys() == {"swept", "cycle_failed", "cycle_stuck", "rolled_back", "over_budget", "quarantined"}
    assert counts(FILTERS["quarantined"], {"function": "collector", "severity": "WARNING", "message": "quarantined: malformed", "key": "k"})
