"""Trainers as processes: whoever asks, there is one of a name, and it is there exactly as long as it lives."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from functions.launcher import local
from functions.launcher.local import LocalLauncher
from functions.launcher.trainers import Refused, Started, TrainerRun

RUN = TrainerRun(7, 1, "gs://retune/cycles/000007/spec.json")
WAIT_S = 30.0

TRAINER = """
import os, signal, socket, subprocess, sys
if os.environ.get("STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
connection = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
if os.environ.get("HELPERS"):
    helper = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env={**os.environ, "HELPERS": ""})
print("at work", flush=True)
connection.sendall(" ".join([str(os.getpid()), *sys.argv[1:], "\\n"]).encode())
connection.recv(1)
"""
"""Reports to the test and works until the test hangs up."""

STARTS_AND_DIES = """
import os, sys
from pathlib import Path
from functions.launcher.local import LocalLauncher
from functions.launcher.trainers import TrainerRun
print(LocalLauncher(Path(sys.argv[1]), command=(sys.executable, "-c", sys.argv[2])).start(TrainerRun(7, 1)))
os._exit(1)
"""


class Working(NamedTuple):
    """A trainer that has reported."""

    connection: socket.socket
    pid: int
    arguments: list[str]

    def end(self) -> None:
        """Let it end by itself."""
        self.connection.close()
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended, leaving its exit status to the launcher, whose child it is."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def is_gone(self) -> bool:
        """Tell whether it has hung up."""
        return self.connection.recv(1) == b""


class Office:
    """Where trainers report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WAIT_S)
        self.environ = {**os.environ, "PORT": str(self._listener.getsockname()[1])}
        self._launchers: list[LocalLauncher] = []
        self._connections: list[socket.socket] = []

    def launcher(self, **environ: str) -> LocalLauncher:
        """Return another launcher on the same folder, as another process would have."""
        launcher = LocalLauncher(self.folder, environ={**self.environ, **environ}, command=(sys.executable, "-c", TRAINER))
        self._launchers.append(launcher)
        return launcher

    def report(self) -> Working:
        """Wait for the next trainer."""
        connection, _ = self._listener.accept()
        connection.settimeout(WAIT_S)
        self._connections.append(connection)
        pid, *arguments = connection.makefile().readline().split()
        return Working(connection, int(pid), arguments)

    def log(self, run: TrainerRun = RUN) -> list[str]:
        return (self.folder / f"{run.name}.log").read_text().splitlines()

    def close(self) -> None:
        """End everything and leave no child that nobody waits for."""
        for name in self.launcher().list_names():
            self.launcher().delete(name)
        for launcher in self._launchers:
            for child in launcher._children:
                child.wait(WAIT_S)
        for connection in self._connections:
            connection.close()
        self._listener.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "trainers")
    yield office
    office.close()


def test_a_trainer_gets_its_spec_and_attempt_and_is_listed_while_it_works(office: Office) -> None:
    launcher = office.launcher()
    outcome = launcher.start(RUN)
    trainer = office.report()
    assert outcome == Started(f"process {trainer.pid}, log {office.folder / RUN.name}.log")
    assert trainer.arguments == ["--spec", "gs://retune/cycles/000007/spec.json", "--attempt", "1"]
    assert launcher.list_names() == office.launcher().list_names() == ["retune-trainer-000007-1"]
    trainer.end()
    assert office.log() == ["at work"]


def test_a_trainer_that_ended_is_not_listed(office: Office) -> None:
    launcher = office.launcher()
    launcher.start(RUN)
    office.report().end()
    assert launcher.list_names() == office.launcher().list_names() == []


def test_a_trainer_that_was_killed_is_not_listed(office: Office) -> None:
    launcher = office.launcher()
    launcher.start(RUN)
    trainer = office.report()
    os.kill(trainer.pid, signal.SIGKILL)
    trainer.wait()
    assert launcher.list_names() == []


def test_two_launchers_start_one_trainer(office: Office) -> None:
    first, second = office.launcher(), office.launcher()
    outcomes = [first.start(RUN), second.start(RUN)]
    trainer = office.report()
    assert outcomes[1] == Started(f"the process that holds {office.folder / RUN.name}.lock")
    trainer.end()
    assert office.log() == ["at work"]


def test_of_many_launchers_at_once_one_starts_the_trainer(office: Office) -> None:
    together = threading.Barrier(8)

    def start(launcher: LocalLauncher) -> bool:
        together.wait(WAIT_S)
        outcome = launcher.start(RUN)
        assert isinstance(outcome, Started)
        return outcome.where.startswith("process ")

    launchers = [office.launcher() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(start, launchers))
    assert sum(started) == 1
    office.report().end()
    assert office.log() == ["at work"]


def test_attempts_and_cycles_are_trainers_of_their_own(office: Office) -> None:
    launcher = office.launcher()
    launcher.start(RUN)
    launcher.start(TrainerRun(7, 2))
    trainers = [office.report(), office.report()]
    assert launcher.list_names() == ["retune-trainer-000007-1", "retune-trainer-000007-2"]
    launcher.delete("retune-trainer-000007-1")
    assert launcher.list_names() == ["retune-trainer-000007-2"]
    for trainer in trainers:
        trainer.connection.close()


def test_a_name_can_be_started_again_when_its_trainer_has_ended(office: Office) -> None:
    launcher = office.launcher()
    launcher.start(RUN)
    first = office.report()
    first.end()
    assert isinstance(office.launcher().start(RUN), Started)
    second = office.report()
    assert second.pid != first.pid
    assert office.log() == ["at work", "at work"]
    launcher.delete(RUN.name)
    assert second.is_gone(), "the process id on file is that of the second life"


def test_delete_ends_the_trainer_with_all_its_helpers_and_returns_when_it_is_gone(office: Office) -> None:
    launcher = office.launcher(HELPERS="2")
    launcher.start(RUN)
    processes = [office.report(), office.report()]
    assert processes[0].pid != processes[1].pid
    launcher.delete(RUN.name)
    assert launcher.list_names() == []
    assert all(process.is_gone() for process in processes)


def test_a_trainer_that_does_not_listen_is_killed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE_S", 0.2)
    launcher = office.launcher(STUBBORN="1")
    launcher.start(RUN)
    trainer = office.report()
    launcher.delete(RUN.name)
    assert trainer.is_gone()
    assert launcher.list_names() == []


def test_deleting_what_is_not_there_is_no_error(office: Office) -> None:
    launcher = office.launcher()
    assert launcher.list_names() == []
    launcher.delete(RUN.name)
    launcher.start(RUN)
    office.report().end()
    launcher.delete(RUN.name)


def test_a_launcher_that_dies_leaves_a_trainer_that_others_know_and_can_end(office: Office) -> None:
    command = [sys.executable, "-c", STARTS_AND_DIES, str(office.folder), TRAINER]
    dead = subprocess.run(command, env=office.environ, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert dead.returncode == 1, dead.stderr
    trainer = office.report()
    survivor = office.launcher()
    assert survivor.list_names() == [RUN.name]
    assert survivor.start(RUN) == Started(f"the process that holds {office.folder / RUN.name}.lock")
    survivor.delete(RUN.name)
    assert trainer.is_gone()
    assert survivor.list_names() == []


def test_a_launcher_that_died_before_it_started_anything_stands_in_nobodys_way(office: Office) -> None:
    office.folder.mkdir()
    (office.folder / f"{RUN.name}.lock").touch()
    launcher = office.launcher()
    assert launcher.list_names() == []
    assert isinstance(launcher.start(RUN), Started)
    office.report().end()


def test_a_trainer_that_cannot_be_started_is_refused_with_the_reason(office: Office) -> None:
    (office.folder / f"{RUN.name}.log").mkdir(parents=True)
    outcome = office.launcher().start(RUN)
    assert isinstance(outcome, Refused)
    assert "Is a directory" in outcome.detail
    assert office.launcher().list_names() == []


def test_looking_at_a_trainer_does_not_pass_for_the_trainer(office: Office) -> None:
    stop = threading.Event()

    def look(launcher: LocalLauncher) -> None:
        while not stop.is_set():
            launcher.list_names()

    def starts(attempt: int) -> bool:
        outcome = office.launcher().start(TrainerRun(7, attempt))
        return isinstance(outcome, Started) and outcome.where.startswith("process ")

    with ThreadPoolExecutor(2) as pool:
        looks = [pool.submit(look, office.launcher()) for _ in range(2)]
        try:
            for attempt in range(1, 9):
                assert starts(attempt)
                office.report().end()
                assert starts(attempt), "its file is there, and nobody holds it"
                office.report().end()
        finally:
            stop.set()
        for each in looks:
            each.result(WAIT_S)


def test_the_process_id_of_an_earlier_life_is_forgotten_before_the_next_begins(office: Office) -> None:
    launcher = office.launcher()
    launcher.start(RUN)
    office.report().end()
    launcher._spawn = lambda run, lock: Started("a process that has not told its id yet")  # type: ignore[method-assign]
    launcher.start(RUN)
    assert (office.folder / f"{RUN.name}.lock").read_text() == ""
