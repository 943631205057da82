"""What tells a bucket in which no cycle was opened yet from one that lost the head of its ledgers."""

from collections.abc import Iterator

from shared import keys
from shared.cas import find
from shared.cycle import CODEC, Status
from shared.objectstore import ObjectStore

HEAD_LOST = (
    "Nothing is collected until it is back, and nothing is lost meanwhile: restore its newest noncurrent generation, or run "
    "`retune registry rebuild-head`; then `retune registry recollect` (docs/guides/operations.md, After a loss)"
)


def traces_of_a_head(store: ObjectStore, first: int) -> Iterator[str]:
    """Yield what is there only after a head was written; two lists at most.

    An approval that the first cycle waits for is older than the head in 0.1.0.
    """
    before = {keys.declined(first), keys.watch(first)}
    for info in store.list(keys.CYCLES):
        numbered = keys.padded(first) <= info.key.removeprefix(keys.CYCLES) < "a"
        if numbered and info.key not in before and not (info.key == keys.state(first) and _awaits_approval(store, first)):
            yield info.key
    yield from (info.key for info in store.list("ledger/", start_after=f"{keys.ledger(first)}~"))


def _awaits_approval(store: ObjectStore, cycle: int) -> bool:
    found = find(store, keys.state(cycle))
    return found is None or CODEC.parse(found.data).status == Status.AWAITING_APPROVAL
