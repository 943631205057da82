"""Events that stand in a sealed ledger and in no dataset go into the open ledger: what a collector wrote while the head was lost [io]."""

from infra.fsck.books import Problem
from infra.fsck.ledgers import stored_events
from infra.fsck.reading import read_books
from shared import ledger
from shared.documents import Frozen, sha256_hex
from shared.objectstore import ObjectStore


class Recollected(Frozen):
    """Events of one sealed ledger that were collected again, and the cycle that has them now."""

    sealed: int
    cycle: int
    event_ids: tuple[str, ...]


def recollect(store: ObjectStore) -> list[Recollected]:
    """Append stranded events to the open ledger; doing it again does nothing more, and consume-once counts each event once.

    Raises:
        Retryable: the store could not be reached.
    """
    books = read_books(store)
    placed = {row.event_id for stored in books.datasets.values() for row in stored.document}.union(*books.ledgers.values())
    done = []
    for cycle, names in sorted(books.sealed.items()):
        wanted = sorted(names - placed)
        if not wanted:
            continue
        problems: list[Problem] = []
        events = stored_events(store, cycle, problems)
        token = f"again-{sha256_hex(' '.join(wanted).encode())[:32]}"
        into = ledger.append(store, [events[name] for name in wanted], token)
        done.append(Recollected(sealed=cycle, cycle=into, event_ids=tuple(wanted)))
    return done
