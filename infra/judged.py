"""Which cycles were judged [io]."""

from shared import keys
from shared.objectstore import ObjectStore


def judged_cycles(store: ObjectStore) -> list[int]:
    """Return the cycles that have a report, oldest first."""
    return [keys.cycle_of(info.key) for info in store.list(keys.VERDICTS) if info.key.endswith("/report.json")]
