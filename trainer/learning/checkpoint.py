"""Checkpoints in the store: a new object each, the newest that belongs to this very run counts.

runs/000012/checkpoints/9f2c41d05be6a7c3/00000250-5f1c....safetensors      250 steps of the run with this fingerprint
"""

import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from shared.errors import CommitUnknown, CorruptObject, NotFound
from shared.log import log
from shared.objectstore import ABSENT, ObjectStore
from trainer.learning.state import read_fingerprint

KEPT = 2
"""The newest, and one before it in case a crash comes between its upload and its use."""


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of one run lie.

    Attributes:
        store: in which.
        prefix: of their keys, with a trailing slash.
        work_dir: local folder for a file on its way.
    """

    store: ObjectStore
    prefix: str
    work_dir: Path

    def put(self, path: Path, fingerprint: str, step: int) -> None:
        """Store a file as the checkpoint after `step` steps of a run, then delete those of this run that nobody needs any more.

        Raises:
            CommitUnknown, Conflict, Retryable: the store did not take it.
        """
        key = f"{self._folder(fingerprint)}{step:08d}-{secrets.token_hex(8)}.safetensors"
        self.store.put_file(key, path, if_generation_match=ABSENT)
        for key in self._keys(fingerprint)[KEPT:]:
            self.store.delete(key)

    def put_within(self, seconds: float, path: Path, fingerprint: str, step: int) -> None:
        """Store a file as `put` does, but wait for it no longer than so many seconds.

        Raises:
            CommitUnknown: the time is up; the upload may land yet.
            Exception: what `put` raised.
        """
        outcome: list[Exception | None] = []

        def work() -> None:
            try:
                self.put(path, fingerprint, step)
                outcome.append(None)
            except Exception as error:  # noqa: BLE001 - raised again on the caller's thread
                outcome.append(error)

        thread = threading.Thread(target=work, name="last-checkpoint", daemon=True)
        thread.start()
        thread.join(seconds)
        if not outcome:
            raise CommitUnknown(f"{self.prefix}: the checkpoint after step {step} was not stored within {seconds:g} s")
        if outcome[0] is not None:
            raise outcome[0]

    def fetch_newest(self, fingerprint: str) -> Path | None:
        """Return a local copy of the newest checkpoint of the run with this fingerprint; None if there is none.

        Raises:
            Retryable: the store could not be reached.
        """
        for key in self._keys(fingerprint):
            path = self.work_dir / "resumed.safetensors"
            try:
                self.store.get_to_file(key, path)
                found = read_fingerprint(path)
            except (CorruptObject, NotFound) as error:
                log(f"checkpoint {key} is passed over: {error}", severity="WARNING")
                continue
            if found == fingerprint:
                return path
            log(f"checkpoint {key} is passed over: expected one of run {fingerprint}, found {found}", severity="WARNING")
        return None

    def _folder(self, fingerprint: str) -> str:
        return f"{self.prefix}{fingerprint[:16]}/"

    def _keys(self, fingerprint: str) -> list[str]:
        return sorted((info.key for info in self.store.list(self._folder(fingerprint))), reverse=True)
