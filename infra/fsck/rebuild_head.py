"""Writes a lost `cycles/head.json` anew, where the states of the cycles alone say what it was [io]."""

from infra.errors import Refused
from infra.fsck.cycle_rules import no_cycle_is_missing
from infra.fsck.reading import read_books
from shared import keys
from shared.cas import commit, find
from shared.documents import Frozen, document_bytes, parse_document
from shared.errors import CorruptObject
from shared.head import Head
from shared.objectstore import ABSENT, ObjectStore

INSTEAD = "restore the bucket instead (docs/guides/operations.md, After a loss)"


class RebuiltHead(Frozen):
    """The head that was written, and the newest state that says so; None = no cycle was opened yet."""

    cycle: int
    newest_state: int | None


def rebuild_head(store: ObjectStore) -> RebuiltHead:
    """Write the head that the states tell of; refused where it stands, or where anything is there of a cycle that has no state.

    The head is the newest cycle that has a state while that one awaits approval, else the next one: a state is created at the head
    only, and nothing moves the head past a cycle without a state.

    Raises:
        Refused: the head is there, or what is left does not say what it was.
        Retryable: the store could not be reached.
        Conflict: somebody else has just written it.
    """
    found = find(store, keys.HEAD)
    if found is not None:
        try:
            standing = parse_document(Head, found.data, what=keys.HEAD)
        except CorruptObject:
            pass  # torn: as good as none
        else:
            raise Refused(f"{keys.HEAD}: expected none, found cycle {standing.cycle}: there is nothing to rebuild")
    books = read_books(store)
    unreadable = [problem for problem in books.unreadable if problem.where.startswith(keys.CYCLES) and problem.where != keys.HEAD]
    models = [version for version in books.models if version >= books.head]
    beyond = [f"v{version} of a cycle without a state" for version in models]
    against = [*map(str, (*unreadable, *no_cycle_is_missing(books))), *beyond]
    if against:
        raise Refused(f"{keys.HEAD}: expected a state of every cycle, found {against[0]}: {INSTEAD}")
    generation = found.info.generation if found else ABSENT
    commit(store, keys.HEAD, document_bytes(Head(cycle=books.head)), if_generation_match=generation)
    return RebuiltHead(cycle=books.head, newest_state=max(books.states, default=None))
