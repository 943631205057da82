"""Runs functions as if they were processes of their own, switching between them only before a call of the store.

Which one goes on is drawn by the test, so every interleaving can be tried and each can be tried again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat

from shared.testing.memory_store import MemoryStore


class _Process:
    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.result: object = None
        self.error: BaseException | None = None
        self.go = threading.Semaphore(0)
        self.parked = threading.Semaphore(0)
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.go.acquire()
        try:
            self.result = self.function()
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.error = error
        finally:
            self.ended = True
            self.parked.release()


def interleave(store: MemoryStore, schedule: Iterable[int], *functions: Callable[[], object]) -> list[object]:
    """Run functions concurrently, one store call at a time; return their results, or the exceptions that they raised.

    Args:
        store: its `before` hook is taken for the time of the run.
        schedule: each number picks who goes on (modulo those that can); afterwards the first that can.
        functions: the processes.
    """
    processes = [_Process(function) for function in functions]
    by_thread = {process.thread: process for process in processes}
    before = store.before

    def park(operation: str, key: str) -> None:
        process = by_thread.get(threading.current_thread())
        if process is not None:
            process.parked.release()
            process.go.acquire()
        before(operation, key)

    store.before = park
    try:
        for process in processes:
            process.thread.start()
        _run_all(processes, chain(schedule, repeat(0)))
    finally:
        store.before = before
    return [process.error or process.result for process in processes]


def _run_all(processes: list[_Process], schedule: Iterator[int]) -> None:
    waiting = list(processes)
    while waiting:
        process = waiting[next(schedule) % len(waiting)]
        process.go.release()
        if not process.parked.acquire(timeout=60):
            raise TimeoutError("a process neither called the store nor ended within 60 s")
        if process.ended:
            process.thread.join()
            waiting.remove(process)
