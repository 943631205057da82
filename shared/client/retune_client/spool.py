"""Messages on disk while Pub/Sub is away: a bounded first-in, first-out store that several processes may share [io].

A segment is a file of JSON lines. Whoever writes or reads a segment holds its file lock, which the kernel releases when
the process dies: a crashed process's segments are taken over by its next life or by its neighbours.

writer          creates and locks `<name>.tmp`, renames it to `<name>.jsonl`, appends ........ (crash: a torn last line is skipped)
reader          locks the oldest `.jsonl` that nobody holds, publishes, unlinks .............. (crash: sent again, same event ids)
"""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retune_client.clock import Clock
from retune_client.errors import SpoolFullError
from retune_client.events import EventMessage

log = logging.getLogger(__name__)

SEGMENT_MESSAGES = 500
_NAME = re.compile(r"\d{20}-\d{8}-[0-9a-f]{16}\.jsonl")
MAX_AGE_S = 31 * 86_400.0
"""Retune refuses events that come much later than this."""


@dataclass
class Segment:
    """A claimed segment: nobody else sends it while it is open."""

    path: Path
    messages: list[EventMessage]
    file: BinaryIO


class Spool:
    """One spool directory; used by one thread at a time, shared with other processes."""

    def __init__(self, directory: Path, *, max_bytes: int, clock: Clock) -> None:
        """Create the directory, readable by its owner only: transcripts lie there.

        Raises:
            OSError: it cannot be created.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.expired = 0
        self.corrupt = 0
        self._directory = directory
        self._max_bytes = max_bytes
        self._clock = clock
        self._token = os.urandom(8).hex()
        self._opened = 0
        self._open: tuple[Path, BinaryIO, int] | None = None

    def append(self, messages: Sequence[EventMessage]) -> None:
        """Store all of `messages` behind what is there, or none of them; on disk when this returns.

        Raises:
            SpoolFullError: they do not fit.
            OSError: the disk refused.
        """
        data = b"".join(_line(message) for message in messages)
        used = sum(_size(path) for path in self._segments())
        if used + len(data) > self._max_bytes:
            raise SpoolFullError(f"{self._directory}: expected room for {len(data)} bytes, found {self._max_bytes - used}")
        path, file, stored = self._open or self._new_segment()
        self._open = None  # a segment that failed half-way is never appended to again
        before = file.tell()
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            _undo(file, before)
            raise
        stored += len(messages)
        if stored < SEGMENT_MESSAGES:
            self._open = (path, file, stored)
        else:
            file.close()

    def take(self) -> Segment | None:
        """Claim the oldest segment that nobody else holds; None = there is none.

        Raises:
            OSError: the disk refused.
        """
        for path in self._segments():
            file = self._claim(path)
            if file is None:
                continue
            messages = self._read(path, file)
            if messages:
                return Segment(path, messages, file)
            _remove(path, file)
        return None

    def finish(self, segment: Segment) -> None:
        """Delete a claimed segment: all of it is published."""
        _remove(segment.path, segment.file)

    def release(self, segment: Segment) -> None:
        """Give a claimed segment back, as it was."""
        segment.file.close()

    def close(self) -> None:
        """Let go of the segment that is being written."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _segments(self) -> list[Path]:
        return sorted(path for path in self._directory.iterdir() if _NAME.fullmatch(path.name))

    def _new_segment(self) -> tuple[Path, BinaryIO, int]:
        self._opened += 1
        name = f"{int(self._clock.now().timestamp() * 1e6):020d}-{self._opened:08d}-{self._token}"
        draft, path = self._directory / f"{name}.tmp", self._directory / f"{name}.jsonl"
        file = os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.rename(path)  # only now can others see it, and it is locked already
        except BaseException:
            file.close()
            draft.unlink(missing_ok=True)
            raise
        return path, file, 0

    def _claim(self, path: Path) -> BinaryIO | None:
        if self._open is not None and self._open[0] == path:
            file = self._open[1]
            self._open = None
            file.seek(0)
            return file
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if os.fstat(file.fileno()).st_nlink == 0:  # its last holder finished it between our open and our lock
            file.close()
            return None
        return file

    def _read(self, path: Path, file: BinaryIO) -> list[EventMessage]:
        messages = [_parse(line) for line in file]
        self.corrupt += messages.count(None)
        whole = [message for message in messages if message is not None]
        if self._clock.now().timestamp() - int(path.name[:20]) / 1e6 > MAX_AGE_S:
            log.warning("spool: %d events are older than %d days and are given up", len(whole), MAX_AGE_S // 86_400)
            self.expired += len(whole)
            return []
        return whole


def chunks(messages: Iterable[EventMessage]) -> list[list[EventMessage]]:
    """Return `messages` in lists that make one segment each."""
    rows = list(messages)
    return [rows[start : start + SEGMENT_MESSAGES] for start in range(0, len(rows), SEGMENT_MESSAGES)]


def _line(message: EventMessage) -> bytes:
    told = {} if message.traceparent is None else {"traceparent": message.traceparent}
    return json.dumps({"type": message.type, "data": message.data.decode(), **told}).encode() + b"\n"


def _parse(line: bytes) -> EventMessage | None:
    try:
        row = json.loads(line)
        return EventMessage(str(row["type"]), str(row["data"]).encode(), row.get("traceparent"))
    except (ValueError, KeyError, TypeError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _undo(file: BinaryIO, size: int) -> None:
    try:
        file.truncate(size)
    except OSError as error:
        log.warning("spool: a torn segment stays behind: %s", error)
    finally:
        try:
            file.close()
        except OSError as error:
            log.warning("spool: %s", error)


def _remove(path: Path, file: BinaryIO) -> None:
    # emptied first: where the folder refuses the unlink, its events are at least not sent again and again
    try:
        file.truncate(0)
        path.unlink(missing_ok=True)  # while it is locked, so that nobody reads it in between
    finally:
        file.close()
