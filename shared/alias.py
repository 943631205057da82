"""Reads the production alias, and tells the time before the first promotion from a loss.

The alias moves first and its audit record follows, so that a record without an alias says that the alias was lost.
"""

from shared import keys
from shared.cas import find
from shared.errors import InvariantBroken
from shared.objectstore import ObjectStore, StoredObject
from shared.registry import CODEC, Production

ALIAS_LOST = (
    "Nothing is moved until it is back, and services keep what they serve: restore its newest noncurrent generation "
    "(docs/guides/operations.md, After a loss)"
)


def find_production(store: ObjectStore) -> Production | None:
    """Return what serves; None before the first promotion.

    Raises:
        InvariantBroken: the alias is lost.
    """
    found = find(store, keys.PRODUCTION) or _look_again(store)
    return CODEC.parse(found.data) if found else None


def refuse_lost_alias(store: ObjectStore) -> None:
    """Look whether an alias that was not found was there once: one list, asked only then.

    Raises:
        InvariantBroken: it was, and is not there now.
    """
    _look_again(store)


def _look_again(store: ObjectStore) -> StoredObject | None:
    logged = next((info.key for info in store.list(keys.REGISTRY_LOG)), None)
    if logged is None:
        return None
    found = find(store, keys.PRODUCTION)  # it is older than its record: the first move may have been made since the first look
    if found is None:
        raise InvariantBroken(f"{keys.PRODUCTION}: expected the alias, since {logged} is there, found none. {ALIAS_LOST}")
    return found
