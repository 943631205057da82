"""A seal, its sets and the count before it are made group by group: of groups of any size the same bytes, and the same decision."""

from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.launcher import scatter
from shared import keys, line_objects, spool
from shared.objectstore import ObjectStore
from tests.firewall_story import Chapter, Life, Report, chapters

WRITTEN = ("/dataset.jsonl", "/told.jsonl", "/former.jsonl", "/declined.json", "/spec.json")


def written(store: ObjectStore) -> dict[str, bytes]:
    wanted = (info.key for info in store.list("") if info.key.endswith(WRITTEN) or "/clips/" in info.key or "/holdout/" in info.key)
    return {key: store.get(key).data for key in wanted}


def told(story: list[Chapter]) -> dict[str, bytes]:
    life = Life()
    life.tell(story)
    return written(life.world.store)


def told_in_groups(story: list[Chapter], most: int) -> dict[str, bytes]:
    with (
        patch.object(scatter, "MOST", most),
        patch.object(spool, "HELD_ITEMS", 1),
        patch.object(spool, "BLOCK_BYTES", 100),
        patch.object(spool, "IN_MEMORY_BYTES", 300),
        patch.object(spool, "SORTED_AT_ONCE", 2),
        patch.object(line_objects, "WHOLE_BYTES", 100),
    ):
        return told(story)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(chapters, min_size=2, max_size=3), st.integers(1, 3))
def test_rows_that_are_met_group_by_group_become_what_they_become_together(story: list[Chapter], most: int) -> None:
    assert told_in_groups(story, most) == told(story)


def test_it_is_the_same_for_cycles_that_train_carry_on_and_judge() -> None:
    people = ["ana", "ben", "eva", None]
    errors = [Report("error", number, people[number % 4], "monday" if number > 3 else None, referenced=number != 2) for number in range(6)]
    samples = [Report("sample", number + 6, people[number], None, referenced=False) for number in range(3)]
    story = [
        Chapter([*errors, *samples], [], [], accepted=True),
        Chapter([Report("correction", 2, None, None, True)], [], [], accepted=True),
    ]
    together = told(story)
    names = {key.split("/", 2)[2] for key in together if key.startswith("cycles/")}
    assert {"dataset.jsonl", "clips/train-errors.jsonl", "clips/holdout.jsonl", f"clips/{keys.LEARNING_SET}.jsonl"} <= names
    for most in (1, 2, 5):
        assert told_in_groups(story, most) == together
