"""One clock for the processes of a burning stack: it runs faster than the machine's, and each process may believe another time."""

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos.schedule import ACTORS

RATE = 15.0
"""So many of its seconds pass in one real second: leases of five minutes end in twenty seconds."""
_DOUBLE = struct.Struct("d")
_BEGAN, _WARP, _FIRST_SKEW = 0, 1, 2
_SLOTS = _FIRST_SKEW + len(ACTORS)


class SharedClock:
    """`Clock` whose settings lie in a file that every process maps.

    Args:
        path: of the file; it is made by `begin`.
        actor: whose clock it is, of ACTORS; empty = one that nobody sets.
    """

    def __init__(self, path: Path, actor: str = "") -> None:
        with path.open("r+b") as file:
            self._slots = mmap.mmap(file.fileno(), _SLOTS * _DOUBLE.size)
        self._skew = _FIRST_SKEW + ACTORS.index(actor) if actor else None

    @classmethod
    def begin(cls, path: Path) -> "SharedClock":
        """Make the file; the clock shows the present time."""
        path.write_bytes(bytes(_SLOTS * _DOUBLE.size))
        made = cls(path)
        made._write(_BEGAN, time.time())
        return made

    def now(self) -> datetime:
        """Return the time that this process believes."""
        began = self._read(_BEGAN)
        skew_s = self._read(self._skew) if self._skew is not None else 0.0
        passed_s = (time.time() - began) * RATE + self._read(_WARP) + skew_s
        return datetime.fromtimestamp(began, UTC) + timedelta(seconds=passed_s)

    def advance(self, seconds: float) -> None:
        """Let time pass at once, for everybody."""
        self._write(_WARP, self._read(_WARP) + seconds)

    def skew(self, actor: str, seconds: float) -> None:
        """Let an actor believe that it is so much later."""
        self._write(_FIRST_SKEW + ACTORS.index(actor), seconds)

    def _read(self, slot: int) -> float:
        return float(_DOUBLE.unpack_from(self._slots, slot * _DOUBLE.size)[0])

    def _write(self, slot: int, value: float) -> None:
        _DOUBLE.pack_into(self._slots, slot * _DOUBLE.size, value)
