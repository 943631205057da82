"""Stand-ins for the outside world, for this package's tests and for those of a service that uses it."""

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import google_crc32c  # comes with google-cloud-storage

from retune_client.errors import ObjectMissingError

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class ManualClock:
    """A clock that moves only when told to; whoever waits for a time wakes when it has come."""

    def __init__(self, now: datetime = START) -> None:
        self._lock = threading.Lock()
        self._start = now
        self._elapsed_s = 0.0
        self._waiting: set[threading.Condition] = set()

    def now(self) -> datetime:
        """Return the set time."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the seconds that the clock was advanced by."""
        with self._lock:
            return self._elapsed_s

    def wait_until(self, condition: threading.Condition, deadline_s: float) -> None:
        """Wait, holding `condition`, until it is notified or the clock has been advanced to `deadline_s`."""
        with self._lock:
            if self._elapsed_s >= deadline_s:
                return
            self._waiting.add(condition)
        condition.wait()

    def advance(self, seconds: float) -> None:
        """Move the clock forward and wake all that wait, so that they look at it."""
        with self._lock:
            self._elapsed_s += seconds
            waiting, self._waiting = self._waiting, set()
        for condition in waiting:
            with condition:
                condition.notify_all()


@dataclass(frozen=True)
class Published:
    """A message that a `MemoryPublisher` was given."""

    topic: str
    data: bytes
    attributes: Mapping[str, str]


class MemoryPublisher:
    """Keeps what is published; can be away, or block, as Pub/Sub can.

    Attributes:
        messages: what was published.
        away: fail every publish.
        attempted: set at every publish, failed ones included.
        gate: a publish waits until it is set.
    """

    def __init__(self) -> None:
        self.messages: list[Published] = []
        self.away = False
        self.attempted = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def publish(self, topic: str, data: bytes, **attributes: str) -> Future[str]:
        """Keep the message, or fail."""
        self.attempted.set()
        self.gate.wait()
        future: Future[str] = Future()
        if self.away:
            future.set_exception(ConnectionError("Pub/Sub is away"))
        else:
            self.messages.append(Published(topic, data, attributes))
            future.set_result(str(len(self.messages)))
        return future


class MemoryModelStore:
    """A model store in memory.

    Attributes:
        objects: key -> bytes; set an entry to change the world.
        reads: keys in the order in which they were asked for.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.reads: list[str] = []

    def read(self, key: str) -> bytes:
        """Return an object's bytes, or raise ObjectMissingError."""
        self.reads.append(key)
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectMissingError(f"{key}: expected an object, found none") from None

    def download(self, key: str, path: Path) -> None:
        """Write an object's bytes to `path`, or raise ObjectMissingError."""
        path.write_bytes(self.read(key))

    def put_model(self, version: int, files: Mapping[str, bytes], *, stored_names: Mapping[str, str] | None = None) -> None:
        """Store a model with its manifest; `stored_names` has the objects that are called other than their files."""
        entries = []
        for name, data in files.items():
            stored_name = (stored_names or {}).get(name)
            self.objects[f"models/{version:06d}/{stored_name or name}"] = data
            crc32c = base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode("ascii")
            entry = {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "crc32c": crc32c, "size_bytes": len(data)}
            entries.append({**entry, "stored_name": stored_name} if stored_name else entry)
        manifest = {"v": 1, "version": version, "origin": "trained", "created_at": START.isoformat(), "files": entries}
        self.objects[f"models/{version:06d}/manifest.json"] = json.dumps(manifest).encode()

    def put_production(
        self, seq: int, stable: int | None, *, canary: tuple[int, int] | None = None, previous: tuple[int, ...] = ()
    ) -> None:
        """Store the production alias; `canary` is (version, percent)."""
        serving = {"version": canary[0], "percent": canary[1], "since": START.isoformat()} if canary else None
        alias = {"seq": seq, "stable": stable, "canary": serving, "previous": list(previous), "withdrawn": [], "moves": []}
        self.objects["registry/production.json"] = json.dumps(alias).encode()
