"""Judges the mutants of one module: the tests are collected once, then each mutant gets a forked process of its own.

    collect ---+--- fork: all tests as they are; which of them call which function, and how long each takes
               +--- fork: plant mutant 1, run the tests that call its function, the shortest first; the first that fails kills it
               +--- fork: plant mutant 2 ...
The process that collected runs no test, so no cache and no fixture of an earlier one hides a mutant.
"""

import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, Self

import pytest

ROOT = Path(__file__).parents[2]
CPU_S, WALL_S = 5, 120
"""What a mutant gets beyond some times what its tests took: its loops may have no end, its waits neither."""
MOST_BYTES = 4 << 30
PYTEST = ("-x", "-q", "-s", "-p", "no:cacheprovider", "--assert=plain", "--tb=native")
"""How a test fails is of no interest here, and to tell it takes longer than most tests."""


@dataclass(frozen=True)
class Mutant:
    """A function with one change.

    Attributes:
        function: its qualified name, `Totals.__add__`.
        change: the lines that differ, `old -> new`, without what is the same on both ends.
        source: the whole function without its decorators, changed, at the margin.
    """

    function: str
    change: str
    source: str

    def __str__(self) -> str:
        return f"{self.function}: {self.change}"


@dataclass(frozen=True)
class Timed:
    """A test as it ran on the code as it is, with the functions of the module that it called."""

    number: int
    cpu_s: float
    functions: tuple[str, ...]


def survivors(module: str, tests: Sequence[str], mutants: Sequence[Mutant], jobs: int, root: Path = ROOT) -> list[Mutant]:
    """Return the mutants that none of the tests kills. For a process of its own: it imports the product and forks.

    Args:
        module: the path of the module, from the root of the repository.
        tests: paths of test files, and arguments of pytest.
        mutants: of the module.
        jobs: so many at a time.
        root: of the repository.

    Raises:
        RuntimeError: the tests fail on the code as it is, or cannot be collected.
    """
    bench = _Bench(module, mutants, jobs)
    sys.path.insert(0, str(root))
    with tempfile.TemporaryFile("w+") as output, _redirected(output.fileno()):
        code = pytest.main([*PYTEST, *(test if test.startswith("-") else str(root / test) for test in tests)], plugins=[bench])
        output.seek(0)
        text = output.read()
    if code != pytest.ExitCode.OK or not bench.judged:
        raise RuntimeError(f"{module}: expected tests that pass on the code as it is, found:\n{text[-5000:]}")
    return bench.survived


@contextmanager
def _redirected(to: int) -> Iterator[None]:
    """Send what this process and its forks write into a file."""
    saved = [os.dup(1), os.dup(2)]
    os.dup2(to, 1)
    os.dup2(to, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, each in enumerate(saved, start=1):
            os.dup2(each, number)
            os.close(each)


class _Bench:
    """A plugin of pytest that runs mutants in place of the tests."""

    def __init__(self, module: str, mutants: Sequence[Mutant], jobs: int) -> None:
        self._module, self._mutants, self._jobs = module, mutants, jobs
        self._failed: pytest.TestReport | None = None
        self.judged = False
        self.survived: list[Mutant] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed = report

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # pytest tells what could not be collected
        module = importlib.import_module(self._module.removesuffix(".py").replace("/", "."))
        timed = self._as_it_is(session.items, str(module.__file__))
        if timed is None:
            session.testsfailed += 1
            return True
        by_function: dict[str, list[Timed]] = defaultdict(list)
        for test in sorted(timed, key=lambda test: test.cpu_s):
            for function in test.functions:
                by_function[function].append(test)
        lives = _functions_of(str(module.__file__))
        gc.freeze()

        def judge(mutant: Mutant) -> Callable[[], bool]:
            items = [session.items[test.number] for test in by_function[mutant.function]]

            def killed() -> bool:
                plant(mutant, vars(module), lives[mutant.function])
                return not all(self._passes(item) for item in items)

            return killed

        tasks = [(judge(mutant), 3 * sum(test.cpu_s for test in by_function[mutant.function])) for mutant in self._mutants]
        self.survived = [mutant for mutant, killed in zip(self._mutants, in_forks(tasks, self._jobs), strict=True) if not killed]
        self.judged = True
        return True

    def _as_it_is(self, items: Sequence[pytest.Item], file: str) -> list[Timed] | None:
        """Run every test in one fork; None = one fails."""
        with tempfile.TemporaryFile("w+") as answer:

            def run() -> bool:
                timed = []
                for number, item in enumerate(items):
                    begun = time.process_time()
                    with _Called(file) as called:
                        if not self._passes(item):
                            print(item.nodeid, self._failed and self._failed.longreprtext, sep="\n", flush=True)
                            return False
                    timed.append((number, time.process_time() - begun, sorted(called.functions)))
                json.dump(timed, answer)
                answer.flush()
                return True

            passed = next(in_forks([(run, 3600.0)], 1))
            answer.seek(0)
            return [Timed(number, cpu_s, tuple(functions)) for number, cpu_s, functions in json.load(answer)] if passed else None

    def _passes(self, item: pytest.Item) -> bool:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._failed is None


class _Called:
    """The functions of a file that are called meanwhile, by their qualified names."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.functions: set[str] = set()

    def _look(self, frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code.co_filename == self._file:
            self.functions.add(frame.f_code.co_qualname.split(".<locals>")[0])

    def __enter__(self) -> Self:
        threading.setprofile(self._look)
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


def _functions_of(file: str) -> dict[str, list[FunctionType]]:
    """Return the functions that came from a file, by qualified name, wherever they are held: in a property, a validator, a cache."""
    found: dict[str, list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename == file:
            found[each.__code__.co_qualname].append(each)
    return found


def plant(mutant: Mutant, names: dict[str, Any], lives: Sequence[FunctionType]) -> None:
    """Give each living copy of a function the mutant's code and defaults.

    Raises:
        RuntimeError: there is no such function.
    """
    if not lives:
        raise RuntimeError(f"{mutant.function}: expected the function in the imported module, found none")
    made: dict[str, Any] = {}
    exec(compile(mutant.source, "<mutant>", "exec"), names, made)
    new = made[mutant.function.rpartition(".")[2]]
    for live in lives:
        live.__code__, live.__defaults__, live.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def in_forks(tasks: Sequence[tuple[Callable[[], bool], float]], jobs: int) -> Iterator[bool]:
    """Yield what each task says, in order, each in a fork of its own; True as well where it dies or does not end in its seconds.

    Raises:
        RuntimeError: a task raised.
    """
    said: dict[int, bool] = {}
    running: dict[int, tuple[int, float]] = {}
    begun = 0
    for number in range(len(tasks)):
        while number not in said:
            while begun < len(tasks) and len(running) < jobs:
                task, seconds = tasks[begun]
                running[_fork(task, seconds)] = (begun, time.monotonic() + seconds * 10 + WALL_S)
                begun += 1
            time.sleep(0.002)
            for pid, (which, deadline) in list(running.items()):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del running[pid]
                    code = os.waitstatus_to_exitcode(status)
                    if code == _RAISED:
                        raise RuntimeError("expected a mutant that can be planted, found the error above")
                    said[which] = code != 0
        yield said.pop(number)


_RAISED = 3


def _fork(task: Callable[[], bool], seconds: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = _RAISED
    try:
        limit = int(seconds) + CPU_S
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        code = int(task())
    finally:
        if code == _RAISED:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
