"""The DevTools protocol over Chromium's own pipe: JSON, each message ended by a NUL byte. Needs no driver and no port.

The browser ends by itself when the pipe closes, so that none is left behind by a test run that was killed.
Source: https://chromedevtools.github.io/devtools-protocol/, `--remote-debugging-pipe`.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

# Chromium reads commands from file 3 and writes to file 4; both ends are moved out of the way before they are put there.
_START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
ANSWER_TIMEOUT_S = 60.0

Event = dict[str, Any]


class DevToolsError(Exception):
    """The browser refused a command, did not answer in time, or ended."""


class DevTools:
    """A running browser: commands in, answers and events out. One thread may send at a time; one other reads."""

    def __init__(self, command: list[str], errors: Any) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(to_browser), str(from_browser), *command],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._changed = threading.Condition()
        self._answers: dict[int, Event] = {}
        self._listeners: dict[str, Callable[[Event], None]] = {}
        self._sent = 0
        self._ended = False
        self._reader = threading.Thread(target=self._listen, name="devtools", daemon=True)
        self._reader.start()

    def send(self, method: str, session: str | None = None, **params: Any) -> Event:
        """Return the browser's answer to a command.

        Raises:
            DevToolsError: the browser refused it, ended, or said nothing for a minute.
        """
        number = self.post(method, session, **params)
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._answers or self._ended, ANSWER_TIMEOUT_S):
                raise DevToolsError(f"{method}: expected an answer within {ANSWER_TIMEOUT_S:.0f} s, found none")
            answer = self._answers.pop(number, None)
        if answer is None:
            raise DevToolsError(f"{method}: the browser ended, status {self._process.poll()}")
        if "error" in answer:
            raise DevToolsError(f"{method}: {answer['error']}")
        result: Event = answer["result"]
        return result

    def post(self, method: str, session: str | None = None, **params: Any) -> int:
        """Send a command whose answer nobody waits for, and return its number; the reading thread may call it."""
        with self._changed:
            self._sent += 1
            number = self._sent
            message: Event = {"id": number, "method": method, "params": params}
            if session is not None:
                message["sessionId"] = session
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[os.write(self._write, data) :]
        return number

    def listen(self, session: str, listener: Callable[[Event], None]) -> None:
        """Have a page's events go to `listener`, which the reading thread calls."""
        self._listeners[session] = listener

    def forget(self, session: str) -> None:
        """Drop a page's events from here on."""
        self._listeners.pop(session, None)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until a condition on what listeners keep holds.

        Raises:
            DevToolsError: it did not within `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition() or self._ended, timeout_s) or not condition():
                raise DevToolsError(f"expected {what} within {timeout_s:g} s")

    def close(self) -> None:
        """End the browser and wait until it is gone."""
        os.close(self._write)  # without its pipe it ends
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        os.close(self._read)

    def _listen(self) -> None:
        rest = b""
        while data := os.read(self._read, 1 << 20):
            *messages, rest = (rest + data).split(b"\0")
            for message in messages:
                self._take(json.loads(message))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, message: Event) -> None:
        with self._changed:
            if "id" in message:
                self._answers[message["id"]] = message
            elif listener := self._listeners.get(message.get("sessionId", "")):
                listener(message)
            self._changed.notify_all()
