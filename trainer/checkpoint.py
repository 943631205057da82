"""Checkpoints in the store: a new object each, the newest that belongs to this very run counts.

runs/000012/checkpoints/00000250-5f1c....safetensors      250 steps done
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from shared.errors import CorruptObject, NotFound
from shared.log import log
from shared.objectstore import ABSENT, ObjectStore
from trainer.state import read_fingerprint

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

    def put(self, path: Path, step: int) -> None:
        """Store a file as the checkpoint after `step` steps, then delete those that nobody needs any more.

        Raises:
            CommitUnknown, Conflict, Retryable: the store did not take it.
        """
        self.store.put_file(f"{self.prefix}{step:08d}-{secrets.token_hex(8)}.safetensors", path, if_generation_match=ABSENT)
        for key in self._keys()[KEPT:]:
            self.store.delete(key)

    def fetch_newest(self, fingerprint: str) -> Path | None:
        """Return a local copy of the newest checkpoint of the run with this fingerprint; None if there is none.

        Raises:
            Retryable: the store could not be reached.
        """
        for key in self._keys():
            path = self.work_dir / "resumed.safetensors"
            try:
                self.store.get_to_file(key, path)
                found = read_fingerprint(path)
            except (CorruptObject, NotFound) as error:
                log(f"checkpoint {key} is passed over: {error}", severity="WARNING")
                continue
            if found == fingerprint:
                return path
            log(f"checkpoint {key} is passed over: it belongs to a run with other clips, settings or base", severity="WARNING")
        return None

    def _keys(self) -> list[str]:
        return sorted((info.key for info in self.store.list(self.prefix)), reverse=True)
