"""Group commit: requests that come together share one write, and each gets its own outcome."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.collector.batcher import LONELY_LINGERS, MAX_LINGERS, GroupCommit
from shared.errors import InvalidMessage, Retryable

WAIT_S = 30.0
FOR_EVER_S = 3600.0


class Held:
    """A batch handler that notes what it gets, and stays under way until the test lets it end."""

    def __init__(self, failure: BaseException | None = None, *, open_at_once: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.release = threading.Event()
        self._failure = failure
        if open_at_once:
            self.release.set()

    def __call__(self, items: Sequence[int]) -> list[str]:
        self.begun.set()
        assert self.release.wait(WAIT_S)
        if self._failure is not None:
            raise self._failure
        self.batches.append(list(items))
        return [f"done {item}" for item in items]


Made = Callable[..., GroupCommit[int, str]]


def run(test: Callable[[Made], Coroutine[Any, Any, None]]) -> None:
    """Run a test on an event loop; it makes its group commit on a pool that is closed in the end."""
    with ThreadPoolExecutor(4) as pool:

        def made(handle_all: Callable[[Sequence[int]], Sequence[str]], **numbers: Any) -> GroupCommit[int, str]:
            return GroupCommit(handle_all, pool, **{"max_items": 250, "linger_s": FOR_EVER_S, **numbers})

        asyncio.run(asyncio.wait_for(test(made), WAIT_S))


def sent(commit: GroupCommit[int, str], *numbers: int) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(commit.submit(number)) for number in numbers]


async def arrived(tasks: Sequence[asyncio.Task[str]]) -> None:
    """Let each task run until it waits."""
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


class Lingers:
    """Stands in for the time that a batch waits: in each linger so many requests come."""

    def __init__(self, *coming: int) -> None:
        self.waited = 0
        self.company: list[asyncio.Task[str]] = []
        self.commit: GroupCommit[int, str]
        self._coming = iter(coming)

    async def __call__(self, full: asyncio.Event, _seconds: float) -> bool:
        self.waited += 1
        self.company += sent(self.commit, *range(next(self._coming)))
        await asyncio.sleep(0)
        return full.is_set()


def test_requests_that_come_together_share_one_call_and_each_gets_its_own_outcome() -> None:
    async def test(made: Made) -> None:
        held = Held()
        commit = made(held, max_items=16)
        assert await asyncio.gather(*sent(commit, *range(16))) == [f"done {number}" for number in range(16)]
        assert held.batches == [list(range(16))]

    run(test)


def test_no_request_returns_before_the_call_has() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        requests = sent(made(held, max_items=3), 1, 2, 3)
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        assert not any(request.done() for request in requests)
        held.release.set()
        assert await asyncio.gather(*requests) == ["done 1", "done 2", "done 3"]

    run(test)


def test_what_comes_long_after_the_one_before_waits_for_nobody() -> None:
    async def test(made: Made) -> None:
        held, now = Held(), iter([100.0, 100.0 + (LONELY_LINGERS + 1) * FOR_EVER_S])
        commit = made(held, clock=lambda: next(now))
        assert [await commit.submit(1), await commit.submit(2)] == ["done 1", "done 2"]
        assert held.batches == [[1], [2]]

    run(test)


def test_what_comes_soon_after_another_waits_a_linger_for_company() -> None:
    async def test(made: Made) -> None:
        held, now = Held(), iter([0.0, 1.0, 2.0])
        commit = made(held, clock=lambda: next(now), max_items=2)
        await commit.submit(1)
        (waiting,) = sent(commit, 2)
        await arrived([waiting])
        assert held.batches == [[1]]
        await commit.submit(3)
        await waiting
        assert held.batches == [[1], [2, 3]]

    run(test)


@pytest.mark.parametrize(
    ("coming", "lingers", "together"),
    [((0,), 1, 1), ((2, 0), 2, 3), ((2, 1, 3, 1, 1, 1), MAX_LINGERS, 9), ((2, 7), 2, 10)],
    ids=["nobody", "some, then nobody", "some all the time", "until it is full"],
)
def test_a_batch_waits_on_while_company_keeps_coming(coming: tuple[int, ...], lingers: int, together: int) -> None:
    async def test(made: Made) -> None:
        held, linger = Held(), Lingers(*coming)
        commit = linger.commit = made(held, linger=linger, clock=lambda: 0.0, max_items=10)
        await commit.submit(0)  # nobody came before it, so it does not wait
        await commit.submit(0)
        await asyncio.gather(*linger.company)
        assert [len(batch) for batch in held.batches] == [1, together]
        assert linger.waited == lingers

    run(test)


def test_a_full_batch_does_not_wait_for_the_linger_and_the_next_request_opens_another() -> None:
    async def test(made: Made) -> None:
        held = Held()
        await asyncio.gather(*sent(made(held, max_items=2), 1, 2, 3, 4))
        assert sorted(held.batches) == [[1, 2], [3, 4]]

    run(test)


def test_batches_do_not_wait_for_each_other() -> None:
    async def test(made: Made) -> None:
        both = threading.Barrier(2)

        def handle_all(items: Sequence[int]) -> list[str]:
            both.wait(WAIT_S)
            return ["" for _ in items]

        await asyncio.gather(*sent(made(handle_all, max_items=1), 1, 2))

    run(test)


@pytest.mark.parametrize("failure", [Retryable("the store is away"), InvalidMessage("cycles/head.json: expected a Head"), KeyError("x")])
def test_a_failing_call_fails_all_of_its_requests_as_something_to_deliver_again(failure: Exception) -> None:
    async def test(made: Made) -> None:
        for error in await asyncio.gather(*sent(made(Held(failure), max_items=5), *range(5)), return_exceptions=True):
            assert isinstance(error, Retryable)
            assert str(error) == f"the batch was not written: {failure}"
            assert error.__cause__ is failure

    run(test)


def test_a_failed_batch_leaves_nothing_behind_for_the_next() -> None:
    async def test(made: Made) -> None:
        outcomes = iter([Retryable("once"), None])

        def handle_all(items: Sequence[int]) -> list[str]:
            if (failure := next(outcomes)) is not None:
                raise failure
            return ["" for _ in items]

        commit = made(handle_all, max_items=1)
        with pytest.raises(Retryable, match="once"):
            await commit.submit(1)
        assert await commit.submit(1) == ""

    run(test)


class Interrupted(BaseException):
    """What stops a thread whatever it does."""


def test_a_batch_that_is_interrupted_acknowledges_nobody() -> None:
    async def test(made: Made) -> None:
        held = Held(Interrupted())
        commit = made(held, max_items=3)
        requests = sent(commit, 1, 2, 3)
        with pytest.raises(Interrupted):
            await asyncio.gather(*await led(commit))
        errors = await asyncio.gather(*requests, return_exceptions=True)
        assert [str(error) for error in errors] == ["the batch was given up before it was written"] * 3

    run(test)


async def led(commit: GroupCommit[int, str]) -> list[asyncio.Task[None]]:
    """Return who leads the batches that have been opened."""
    await asyncio.sleep(0)
    return list(commit._leaders)


def test_a_leader_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        commit = made(held, max_items=2)
        requests = sent(commit, 1, 2)
        (leader,) = await led(commit)
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        leader.cancel()
        errors = await asyncio.gather(*requests, return_exceptions=True)
        held.release.set()
        assert [type(error) for error in errors] == [Retryable, Retryable]

    run(test)


def test_a_request_that_was_given_up_keeps_the_others_from_nothing() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        first, second = sent(made(held, max_items=2), 1, 2)
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        first.cancel()
        held.release.set()
        assert await second == "done 2"

    run(test)


def test_requests_give_up_on_a_call_that_takes_too_long() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        errors = await asyncio.gather(*sent(made(held, max_items=2, patience_s=0.01), 1, 2), return_exceptions=True)
        held.release.set()
        assert {str(error) for error in errors} == {"expected the batch to be written in 0.01 s, it still is under way"}

    run(test)
