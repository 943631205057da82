"""The process of the functions, as the stack sees it: start, wait until they serve, end.

One process of its own, since a function takes its settings from the environment and writes its log to standard output.
"""

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from functions.wiring import CONSOLE
from infra.errors import OK, Unreachable
from infra.local.serve_functions import HOST
from infra.processes import environment

READY_S = 60.0
CLOSE_S = 30.0
"""Requests under way, and a trainer that is asked to go, have so long."""
READY_PATHS = {CONSOLE: "/style.css"}
"""What is asked for to see whether a function serves: of the console what needs no store."""


class FunctionsProcess:
    """Serves functions, each on a port of its own.

    Args:
        names: of the functions.
        variables: the functions' settings.
        log: file that their log lines are appended to.
        folder: the process's working folder.
        console_port: of the console; 0 = any free one, as the functions have.

    Attributes:
        urls: address of each function, by name.
    """

    def __init__(self, names: Iterable[str], variables: Mapping[str, str], log: Path, folder: Path, *, console_port: int = 0) -> None:
        self.log = log
        self.urls: dict[str, str] = {}
        self._names = tuple(names)
        self._variables = variables
        self._folder = folder
        self._console_port = console_port
        self._process: subprocess.Popen[bytes] | None = None

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit code once the process has ended, or None after `timeout_s`."""
        try:
            return self._process.wait(timeout_s) if self._process else OK
        except subprocess.TimeoutExpired:
            return None

    def start(self) -> Self:
        """Start the process and wait until every function answers.

        Raises:
            Unreachable: one did not; the text ends with the last lines of the log.
        """
        with ExitStack() as listeners:
            sockets = {
                name: listeners.enter_context(socket.create_server((HOST, self._console_port if name == CONSOLE else 0), backlog=512))
                for name in self._names
            }
            self.urls = {name: f"http://{HOST}:{listener.getsockname()[1]}" for name, listener in sockets.items()}
            descriptors = [listener.fileno() for listener in sockets.values()]
            arguments = [f"{name}={listener.fileno()}" for name, listener in sockets.items()]
            with self.log.open("ab") as out:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "infra.local.serve_functions", *arguments],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environment(self._variables),
                    cwd=self._folder,
                    pass_fds=descriptors,
                    start_new_session=True,
                )
        # From here on the sockets are the process's alone: should it die, a waiting request ends at once.
        try:
            for name, url in self.urls.items():
                self._wait_until_it_answers(name, url)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Let requests under way finish, end the trainers, and wait for the process."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_it_answers(self, name: str, url: str) -> None:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=READY_S)
        try:
            connection.request("GET", READY_PATHS.get(name, "/"))
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{name}: expected it to serve at {url}, found {error!r}; {self._last_words()}") from error
        finally:
            connection.close()
        if status != http.client.OK:
            raise Unreachable(f"{name}: expected 200 from {url}, found {status}; {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        return "\n".join([f"{self.log} ends with:", *lines])
