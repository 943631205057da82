"""What was refused for good: the newest of the quarantine [io]."""

import json
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from functions.views.snapshot import Snapshot
from shared import keys
from shared.cas import find
from shared.documents import Frozen

QUARANTINE_DAYS = 7
QUARANTINE_SHOWN = 5


class Refusal(Frozen):
    """A message in quarantine."""

    key: str
    function: str
    reason: str
    at: AwareDatetime


def read_refusals(store: Snapshot, now: datetime) -> tuple[tuple[Refusal, ...], int]:
    """Return the newest messages in quarantine, newest first, and how many came within the last days."""
    since = (now - timedelta(days=QUARANTINE_DAYS)).date().isoformat()
    listed = sorted(store.list(keys.QUARANTINE, start_after=keys.QUARANTINE + since), key=lambda info: info.updated, reverse=True)
    store.prefetch(info.key for info in listed[:QUARANTINE_SHOWN])
    shown = [each for info in listed[:QUARANTINE_SHOWN] if (each := find(store, info.key)) is not None]
    return tuple(_refusal(each.info.key, each.data) for each in shown), len(listed)


def _refusal(key: str, data: bytes) -> Refusal:
    document = json.loads(data)
    return Refusal.model_validate({"key": key, **{name: document[name] for name in ("function", "reason", "at")}})
