"""Which models the retention lets go: each reason to stay, alone."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.registry import Canary, Production
from shared.retention import Fate, StoredModel, UnfinishedUpload, decide_gc, decide_unfinished
from shared.testing.clock import START

DAY = timedelta(days=1)


def model(version: int, base: int | None = None) -> StoredModel:
    return StoredModel(version=version, base_version=base, size_bytes=100 + version)


def fates(
    production: Production | None, *models: StoredModel, running: Mapping[int, int | None] | None = None, keep: int = 1
) -> dict[int, str]:
    """Return why each of the models stays; those that are collected are not in it."""
    return {fate.version: fate.why for fate in decide_gc(production, models, running or {}, keep) if not fate.collect}


MANY = tuple(model(version) for version in range(10))


def test_everything_that_may_be_needed_stays_and_the_reason_is_told() -> None:
    canary = Canary(version=6, percent=10, since=START)
    production = Production(stable=5, canary=canary, previous=(3, 2), withdrawn=(4,), pinned=(1,))
    assert fates(production, *MANY, running={8: 7}) == {
        1: "pinned",
        2: "in line for a rollback",
        3: "in line for a rollback",
        5: "stable",
        6: "on canary",
        7: "the base that cycle 8 trains from",
        8: "cycle 8 runs",
        9: "among the newest 1",
    }


def test_the_base_of_what_is_needed_stays_but_not_the_base_of_that() -> None:
    models = (model(0), model(1, base=0), model(2, base=1), model(3, base=2), model(4))
    assert fates(Production(stable=3), *models) == {2: "the base of v3", 3: "stable", 4: "among the newest 1"}


def test_the_base_of_a_model_that_is_only_young_goes() -> None:
    assert fates(Production(stable=0), model(0), model(1), model(2, base=1)) == {0: "stable", 2: "among the newest 1"}


def test_what_goes_says_why() -> None:
    decided = decide_gc(Production(stable=5, withdrawn=(1,), collected=(0,)), (model(2), model(1), model(0), model(5)), {}, 2)
    assert decided == (
        Fate(version=0, collect=True, why="an earlier collection did not come to its end", size_bytes=100),
        Fate(
            version=1,
            collect=True,
            why="withdrawn, neither serves nor is in line for a rollback, pinned, a base, of a running cycle or among the newest 2",
            size_bytes=101,
        ),
        Fate(version=2, collect=False, why="among the newest 2", size_bytes=102),
        Fate(version=5, collect=False, why="stable", size_bytes=105),
    )


def test_what_was_collected_is_not_counted_among_the_newest() -> None:
    production = Production(stable=0, withdrawn=(3,), collected=(3,))
    assert fates(production, model(0), model(1), model(2), model(3)) == {0: "stable", 2: "among the newest 1"}


def test_a_running_cycle_that_has_not_chosen_its_base_keeps_its_own_number() -> None:
    assert fates(None, model(0), model(7), model(8), running={7: None}) == {7: "cycle 7 runs", 8: "among the newest 1"}


# uploads that nobody finished


def upload(**changes: object) -> UnfinishedUpload:
    return UnfinishedUpload(version=3, size_bytes=7, written_at=START, ended_at=START).model_copy(update=changes)


def test_an_upload_without_a_manifest_goes_when_its_cycle_ended_and_its_last_file_came_more_than_a_day_ago() -> None:
    gone = Fate(version=3, collect=True, why="no manifest: whoever uploaded it died, and its cycle has ended", size_bytes=7)
    late = DAY + timedelta(seconds=1)
    assert decide_unfinished(Production(stable=2), upload(), {4: 2}, START + late) == gone
    on_its_way = "no manifest yet: it may be on its way for a day"
    assert decide_unfinished(None, upload(), {}, START + DAY).why == on_its_way
    assert decide_unfinished(None, upload(written_at=START + late), {}, START + late).why == on_its_way
    assert decide_unfinished(None, upload(ended_at=START + late), {}, START + late).why == on_its_way


@pytest.mark.parametrize(
    ("production", "found", "running", "why"),
    [
        (Production(stable=3), upload(), {}, "no manifest, but stable"),
        (Production(stable=2, previous=(3,)), upload(), {}, "no manifest, but in line for a rollback"),
        (Production(stable=2, pinned=(3,)), upload(), {}, "no manifest, but pinned"),
        (Production(stable=2), upload(), {4: 3}, "no manifest, but the base that cycle 4 trains from"),
        (Production(stable=2), upload(ended_at=None), {3: 2}, "no manifest, but cycle 3 runs"),
        (Production(stable=2), upload(ended_at=None), {}, "no manifest yet: its cycle has not ended"),
        (Production(stable=2), upload(completed=True), {}, "its manifest was there once and is lost: `retune models verify` says more"),
    ],
)
def test_a_model_that_was_whole_once_or_may_become_so_stays_without_its_manifest(
    production: Production, found: UnfinishedUpload, running: dict[int, int | None], why: str
) -> None:
    assert decide_unfinished(production, found, running, START + 30 * DAY) == Fate(version=3, collect=False, why=why, size_bytes=7)


versions = st.integers(0, 12)


@given(
    stable=versions,
    previous=st.lists(versions, unique=True, max_size=4),
    pinned=st.lists(versions, unique=True, max_size=3),
    withdrawn=st.lists(versions, unique=True, max_size=6),
    bases=st.lists(st.none() | versions, min_size=13, max_size=13),
    running=st.dictionaries(versions, st.none() | versions, max_size=2),
    keep=st.integers(1, 14),
)
def test_whatever_the_registry_nothing_that_is_needed_goes(
    stable: int,
    previous: list[int],
    pinned: list[int],
    withdrawn: list[int],
    bases: list[int | None],
    running: dict[int, int | None],
    keep: int,
) -> None:
    models = [model(version, base) for version, base in enumerate(bases)]
    production = Production(stable=stable, previous=tuple(previous), pinned=tuple(pinned), withdrawn=tuple(withdrawn))
    gone = {fate.version for fate in decide_gc(production, models, running, keep) if fate.collect}
    needed = {stable, *previous, *pinned, *running, *(base for base in running.values() if base is not None)}
    assert not gone & needed
    assert not gone & {bases[version] for version in needed}
    assert not gone & set(range(13 - keep, 13))
