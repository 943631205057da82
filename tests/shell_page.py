"""A page of shell blocks as its reader follows it: what to type, what that prints, and what the other terminal and the console say meanwhile.

| on the page | |
|---|---|
| a block `sh` | is typed into the second terminal; the one with `retune up` into the first, where it stays |
| a block `text` | is all that the `sh` before it prints |
| a block `log` | is what the first terminal says sooner or later, after what it said before |
| `the console says "..."` | is the headline of the console, sooner or later |
"""

import html
import os
import re
import signal
import subprocess
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast

Kind = Literal["sh", "text", "log", "console"]
_STEP = re.compile(r'^```(sh|text|log)\n(.*?)^```$|the\s+console\s+says\s+"([^"]+)"', re.MULTILINE | re.DOTALL | re.IGNORECASE)
_NUMBER = r"[-+]?\d+(?:[.,:]\d+)*"
_LOOSE = re.compile(r" ?\.\.\. ?|(?<![\w/.])(?<![Cc]ycle )" + _NUMBER)
_END = "~~~ that block ended with"


@dataclass(frozen=True)
class Step:
    """What a page says to type, or says that will be seen.

    Attributes:
        line: where it stands.
    """

    kind: Kind
    text: str
    line: int


def read_steps(page: str) -> list[Step]:
    """Return what a page does and claims, in its order."""
    return [
        Step(cast(Kind, found[1] or "console"), found[2] if found[1] else found[3], page.count("\n", 0, found.start()) + 1)
        for found in _STEP.finditer(page)
    ]


def as_printed(expected: str) -> re.Pattern[str]:
    """Return what matches `expected`, joined by `one_line`, with any other numbers, and with anything where it has `...`.

    A number in a name must be the same: v1, cycle 1, monday/noisy/00003.wav.
    """
    text, pattern, at = one_line(expected), "", 0
    for found in _LOOSE.finditer(text):
        pattern += re.escape(text[at : found.start()]) + (".*?" if "..." in found[0] else _NUMBER)
        at = found.end()
    return re.compile(pattern + re.escape(text[at:]))


def one_line(text: str) -> str:
    """Return a text without what depends on the width of a terminal: each run of blanks is one."""
    return " ".join(text.split())


class Shell:
    """The second terminal: a shell that stays, into which block after block is typed."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._block = folder.parent / "block.sh"
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.communicate()

    def type(self, block: str) -> tuple[str, int]:
        """Run a block; return what it printed and the last exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._block.write_text(block)
        self._process.stdin.write(f"source {self._block} </dev/null; echo; echo '{_END}' $?\n")
        self._process.stdin.flush()
        printed = ""
        for line in self._process.stdout:
            if line.startswith(_END):
                return printed, int(line.split()[-1])
            printed += line
        raise AssertionError(f"the shell ended within\n{block}after\n{printed}")


class StackTerminal:
    """The first terminal: the stack, and all that it says."""

    def __init__(self, folder: Path, environ: dict[str, str], block: str) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", block],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._said, self._ended, self._more = "", False, threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ctrl_c()

    def ctrl_c(self) -> int:
        """Press Ctrl-C; return the exit code."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(60.0)
        self._thread.join(60.0)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def wait_for(self, expected: re.Pattern[str], timeout_s: float) -> re.Match[str]:
        """Return where it says something, after all that it was seen to say before."""
        with self._more:
            self._more.wait_for(lambda: self._ended or expected.search(one_line(self._said), self._read), timeout_s)
            said = one_line(self._said)
            found = expected.search(said, self._read)
        assert found, f"expected\n{expected.pattern}\nafter {self._read} characters of\n{said}"
        self._read = found.end()
        return found

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._said += line
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


def headline(address: str) -> str:
    """Return the headline of a page."""
    with urllib.request.urlopen(address, timeout=30.0) as answer:
        found = re.search(r"<h1[^>]*>(.*?)</h1>", cast(bytes, answer.read()).decode(), re.DOTALL)
    return one_line(html.unescape(re.sub(r"<[^>]+>", "", found[1]))) if found else ""
