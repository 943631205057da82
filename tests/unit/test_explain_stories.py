"""`retune explain CYCLE|VERSION|UTTERANCE` tells what became of it, from the records alone."""

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

from shared.testing import builders
from tests.command_line import Retune, command_line
from tests.world import POLICY, World, right, wrong


@pytest.fixture
def world() -> World:
    made = World(POLICY.model_copy(update={"auto_deploy": True}))
    made.install_model()
    made.record_calls(range(200))
    return made


@pytest.fixture
def explain(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    return command_line(world, monkeypatch, "explain")


def a_cycle(world: World, candidate: Callable[..., str]) -> None:
    """Collect, open cycle 1, train and judge it."""
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)))
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    world.train(1, candidate=candidate)
    world.settle()


def words(answered: Result) -> str:
    return " ".join(answered.stdout.split())


def test_the_story_of_a_deployed_cycle_tells_why_on_which_data_why_accepted_and_by_whom_deployed(world: World, explain: Retune) -> None:
    a_cycle(world, right)
    told = explain("1")
    assert told.exit_code == 0, told.output
    text = words(told)
    assert "Cycle 1: deployed" in text
    assert "why: 60 errors" in text
    assert "on which data 120 rows: 60 of kind error, 60 of kind sample; 120 fresh" in text
    assert "attempt 1:" in text
    assert "accepted beside v0" in text
    assert "holdout: WER" in text
    assert "promote v1 by deployer" in text
    story = json.loads(explain("1", "--json").stdout)
    assert (story["state"]["cycle"], story["verdict"]["outcome"], [move["kind"] for move in story["moves"]]) == (1, "accepted", ["promote"])


def test_the_story_of_a_version_tells_where_it_is_from_and_why_it_was_rolled_back(world: World, explain: Retune) -> None:
    a_cycle(world, right)
    world.type("model-commands", '{"rollback": 1, "by": "ann", "reason": "customers complain"}')
    world.settle()
    text = words(explain("v1"))
    assert "v1: withdrawn" in text
    assert "trained from v0" in text
    assert "has learned the data of cycle 1" in text
    assert "rollback v1 by ann (claimed)" in text
    assert "customers complain" in text
    first = words(explain("v0"))
    assert "v0: stable" in first
    assert "it was not judged" in first


def test_the_story_of_a_cycle_that_showed_no_gain_says_that_nobody_deployed_it(world: World, explain: Retune) -> None:
    a_cycle(world, wrong)
    cycle, version = words(explain("1")), words(explain("v1"))
    assert "Cycle 1: inconclusive" in cycle
    assert "promote by" not in cycle
    assert "it was never deployed" in version


def test_a_running_cycle_has_a_story_without_an_end(world: World, explain: Retune) -> None:
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    text = words(explain("1"))
    assert "Cycle 1: preparing" in text
    assert "it was not judged" in text


def test_an_utterance_is_told_by_its_name_even_if_it_looks_like_a_cycle(world: World, explain: Retune) -> None:
    report = builders.error(1).model_copy(update={"utterance_id": "7"})
    world.publish(report, builders.error(2))
    world.settle()
    assert "Utterance utterance-2" in explain(builders.error(2).utterance_id).stdout.replace(builders.error(2).utterance_id, "utterance-2")
    assert explain("7").exit_code == 1
    assert "Utterance 7" in explain("--utterance", "7").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["9"], 1, "cycle 9: expected one that was opened, found no state"),
        (["v9"], 1, "v9: expected"),
        (["nobody-knows"], 1, "utterance nobody-knows: expected an event about it, found none"),
        (["1", "--utterance", "x"], 2, "expected one of a subject"),
        (["1", "--force"], 2, "expected one of a subject"),
    ],
)
def test_what_is_not_there_is_refused_with_what_was_expected(explain: Retune, arguments: list[str], code: int, said: str) -> None:
    answered = explain(*arguments)
    assert answered.exit_code == code
    assert said in " ".join(answered.stderr.replace("│", " ").split())
