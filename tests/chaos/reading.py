"""Reads the books of a bucket, every byte of it, beside what the world outside knows [io]."""

from collections.abc import Iterable
from dataclasses import fields

from infra.fsck.books import Books as BucketBooks
from infra.fsck.reading import event_id_of, read_model
from infra.fsck.reading import read_books as read_bucket
from shared.errors import CorruptObject, NotFound
from shared.objectstore import ObjectStore
from tests.chaos.books import Books, Outside, Seen

__all__ = ["event_id_of", "incomplete", "read_books", "read_model"]


def read_books(store: ObjectStore, outside: Outside, seen: Iterable[Seen] = ()) -> Books:
    """Read everything that can be checked, while nobody writes."""
    bucket = read_bucket(store, full=True)
    return Books(**{each.name: getattr(bucket, each.name) for each in fields(BucketBooks)}, seen=tuple(seen), outside=outside)


def incomplete(store: ObjectStore, versions: Iterable[int | None]) -> str | None:
    """Return what is wrong with the first of these models that is not complete, to the last byte; None = nothing."""
    for version in versions:
        if version is not None:
            try:
                problem = read_model(store, version, full=True).problem
            except (NotFound, CorruptObject) as error:
                problem = str(error)
            if problem:
                return f"v{version}: {problem}"
    return None
