"""Stored documents: what all have in common, and how they become bytes and come back."""

import hashlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import CorruptObject

Document = TypeVar("Document", bound=BaseModel)


class Frozen(BaseModel):
    """A frozen document; an unknown field is an error, so that an older release refuses what it would lose by writing it back.

    A new field has a default and is left out of what is stored while it has that value: the release before then reads the document until
    somebody uses what is new. What cannot be so raises `v`, which the release before refuses. `tests/property/test_two_releases.py` holds
    it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def document_bytes(document: BaseModel) -> bytes:
    """Return the bytes in which a document is stored: stable, so that its digest is."""
    return document.model_dump_json(indent=1).encode()


def line_bytes(row: BaseModel) -> bytes:
    """Return a row as a line of JSON, without its end; fields that are None are left out."""
    return row.model_dump_json(exclude_none=True).encode()


def lines_bytes(rows: Iterable[BaseModel]) -> bytes:
    """Return rows as JSON lines."""
    return b"".join(line_bytes(row) + b"\n" for row in rows)


def parse_document(cls: type[Document], data: bytes, *, what: str) -> Document:
    """Parse a stored document.

    Raises:
        CorruptObject: it is not one, saying which field of `what` is wrong. Not InvalidMessage: the message that made somebody read
            the document is not at fault and must not be quarantined for it.
    """
    try:
        return cls.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptObject(f"{what}: expected a valid {cls.__name__}, found {where or 'document'}: {first['msg']}") from error


def iter_lines(cls: type[Document], data: bytes, *, what: str) -> Iterator[Document]:
    """Parse JSON lines one at a time, however many there are; see `parse_document`."""
    for number, line in enumerate(BytesIO(data), 1):
        if line.strip():
            yield parse_document(cls, line, what=f"{what} line {number}")


def parse_lines(cls: type[Document], data: bytes, *, what: str) -> list[Document]:
    """Parse JSON lines; see `parse_document`."""
    return list(iter_lines(cls, data, what=what))


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
