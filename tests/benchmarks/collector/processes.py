"""The benchmark's processes: helpers that speak in lines, functions under functions-framework, and what a process has used."""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.processes import ROOT, environment

HOST = "127.0.0.1"
PACKAGE = "tests.benchmarks.collector"
READY_S = 60.0
END_S = 20.0
LOOK_S = 0.05


class Child:
    """A process that is spoken to in lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def write(self, line: str) -> None:
        """Say a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read(self) -> str:
        """Return the next line that it says.

        Raises:
            EOFError: it has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"process {self._process.args!r}: expected an answer, found its end")
        return line.rstrip("\n")


@contextmanager
def start_module(module: str, *arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Run a module of this package; it ends when its standard input does."""
    command = [sys.executable, "-m", f"{PACKAGE}.{module}", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(variables), cwd=ROOT
    ) as process:
        try:
            yield Child(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(frozen=True)
class Used:
    """What the processes of a function have used so far: processor time; resident memory now, shared pages counted once."""

    cpu_s: float
    memory_bytes: int


class FunctionServer:
    """A function under functions-framework's own server: gunicorn, as on Cloud Run."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.port = port

    @property
    def pids(self) -> list[int]:
        """The server's processes."""
        parent = psutil.Process(self._process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]

    def used(self) -> Used:
        """Look at the processes."""
        processes = [psutil.Process(pid) for pid in self.pids]
        times = [process.cpu_times() for process in processes]
        return Used(sum(time.user + time.system for time in times), sum(process.memory_full_info().pss for process in processes))


@contextmanager
def function_server(source: Path, log: Path, variables: Mapping[str, str]) -> Iterator[FunctionServer]:
    """Serve the function `entry` of a file while the block runs; what it says goes to `log`."""
    port = _free_port()
    script = "from functions_framework._cli import _cli; _cli()"
    command: Sequence[str] = (
        *(sys.executable, "-c", script, "--target", "entry", "--source", str(source)),
        *("--host", HOST, "--port", str(port)),
    )
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment(variables), cwd=ROOT) as process:
        try:
            _wait_until_it_serves(process, port, log)
            yield FunctionServer(process, port)
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()


def _wait_until_it_serves(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < until:
        connection = http.client.HTTPConnection(HOST, port, timeout=READY_S)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(LOOK_S)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(f"{log}: expected a function to serve within {READY_S} s, found it says: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
