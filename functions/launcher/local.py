"""Trainers as processes of this machine: `python -m trainer`, one lock file per trainer.

The kernel keeps the books: a trainer holds an exclusive lock on its file from before it starts until it has ended, in
whatever way. So two launchers start one process, and a dead trainer is never taken for a living one. To look at a lock is
to hold it for a moment, so launchers take turns: a look must not pass for a trainer.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from shared.errors import Retryable

GRACE_S = 10.0
_WRITE_PID_THEN_RUN = 'echo $$ >"$0" && exec "$@"'
"""The child itself records its process id, before it becomes the trainer: a launcher that dies leaves no nameless child."""


class LocalLauncher:
    """`TrainerLauncher` on subprocesses.

    Args:
        folder: where locks and logs lie; shared by all launchers of this machine.
        environ: environment of the trainers; None = this process's own.
        command: what runs a trainer, before its arguments.
    """

    def __init__(self, folder: Path, *, environ: Mapping[str, str] | None = None, command: Sequence[str] | None = None) -> None:
        self._folder = folder
        self._environ = dict(environ) if environ is not None else None
        self._command = tuple(command or (sys.executable, "-m", "trainer"))
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start one process; see `TrainerLauncher.start`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._turn():
            self._reap()
            lock = os.open(self._lock_file(run.name), os.O_CREAT | os.O_RDWR)
            try:
                if not _take(lock, fcntl.LOCK_EX):
                    return Started(f"the process that holds {self._lock_file(run.name)}")
                os.ftruncate(lock, 0)  # the process id of an earlier life may be a stranger's now
                return self._spawn(run, lock)
            except BlockingIOError as error:
                return NoCapacity(f"{self._command[0]}: {error}")
            except OSError as error:
                return Refused(f"{self._command[0]}: {error}")
            finally:
                os.close(lock)

    def _spawn(self, run: TrainerRun, lock: int) -> Started:
        arguments = [*self._command, "--spec", run.spec_uri, "--attempt", str(run.attempt)]
        with (self._folder / f"{run.name}.log").open("ab") as out:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _WRITE_PID_THEN_RUN, str(self._lock_file(run.name)), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
                pass_fds=(lock,),
            )
        self._children.append(child)
        return Started(f"process {child.pid}, log {self._folder / run.name}.log")

    def delete(self, name: str) -> None:
        """End a process and wait for it; see `TrainerLauncher.delete`.

        Raises:
            Retryable: it lives on after SIGKILL.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                self._end(name, number)
            except RetryError as error:
                if number == signal.SIGKILL:
                    raise Retryable(f"trainer {name}: expected it to end after SIGKILL, it lives on") from error

    def list_names(self) -> list[str]:
        """Return the trainers whose process lives; see `TrainerLauncher.list_names`."""
        return [path.stem for path in sorted(self._folder.glob("retune-trainer-*.lock")) if self._lives(path.stem)]

    def _end(self, name: str, number: signal.Signals) -> None:
        """Send one signal, as soon as the process has told its id, and wait until it is gone."""
        unsent = [number]

        def lives() -> bool:
            alive = self._lives(name)
            if alive and unsent and self._kill(name, number):
                unsent.clear()
            return alive

        Retrying(stop=stop_after_delay(GRACE_S), wait=wait_fixed(0.05), retry=retry_if_result(bool))(lives)

    def _lock_file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _lives(self, name: str) -> bool:
        if not self._lock_file(name).exists():
            return False
        with self._turn():
            self._reap()
            lock = os.open(self._lock_file(name), os.O_RDWR)
            try:
                return not _take(lock, fcntl.LOCK_SH)
            finally:
                os.close(lock)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other launcher of this folder, in whatever thread or process, starts or looks."""
        turn = os.open(self._folder / "launchers.lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield
        finally:
            os.close(turn)

    def _kill(self, name: str, number: signal.Signals) -> bool:
        try:
            os.killpg(int(self._lock_file(name).read_text()), number)
        except (ProcessLookupError, ValueError, FileNotFoundError):
            return False  # it has ended by itself, or has not become the trainer yet
        return True

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]


def _take(lock: int, kind: int) -> bool:
    """Take a lock if it is free; it goes with the last open descriptor."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
