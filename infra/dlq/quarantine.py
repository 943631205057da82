"""What lies under `quarantine/`: read as the adapter wrote it, and as what it is where somebody else did or it is torn [io]."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, Field

from functions.push import MAX_BODY_BYTES, body_of
from infra.errors import Refused
from shared.cas import commit, find
from shared.documents import Frozen, document_bytes, parse_document
from shared.errors import CorruptObject
from shared.objectstore import ObjectInfo, ObjectStore, StoredObject

MAX_OBJECT_BYTES = 16 * MAX_BODY_BYTES
"""More than the adapter writes of the largest body, each byte of it escaped."""
UNREADABLE = "unreadable: "
DROPPED = "dropped by "


class Refusal(BaseModel):
    """A refused message, as the adapter keeps it."""

    function: str
    reason: str
    at: AwareDatetime
    body_bytes: int = Field(ge=0)
    body: str
    body_sha256: str | None = None


class Quarantined(Frozen):
    """A message that can never be handled, with the reason.

    Attributes:
        reason: of what cannot be read: what is wrong with the object.
        at: when it was refused; of what cannot be read: when the object was written.
        readable: the object is one that the adapter wrote.
    """

    key: str
    function: str
    reason: str
    at: AwareDatetime
    body_bytes: int
    readable: bool = True


@dataclass(frozen=True)
class Found:
    """An object in quarantine; without a refusal it cannot be read, and `problem` says why."""

    stored: StoredObject
    refusal: Refusal | None
    problem: str = ""


def look(store: ObjectStore, infos: Iterable[ObjectInfo]) -> Iterable[Quarantined]:
    """Yield what is known of objects in quarantine; one that goes meanwhile is passed over."""
    for info in infos:
        if info.size_bytes > MAX_OBJECT_BYTES:
            problem = f"{UNREADABLE}expected at most {MAX_OBJECT_BYTES} bytes, found {info.size_bytes}"
            yield Quarantined(key=info.key, function="", reason=problem, at=info.updated, body_bytes=info.size_bytes, readable=False)
        elif (stored := find(store, info.key)) is not None:
            yield _summary(_read(stored))


def open_quarantined(store: ObjectStore, key: str) -> Found:
    """Return one object in quarantine.

    Raises:
        Refused: there is none of that name, or it is too large to be looked at.
    """
    info = next((info for info in store.list(key) if info.key == key), None)
    if info is not None and info.size_bytes > MAX_OBJECT_BYTES:
        raise Refused(f"{key}: expected at most {MAX_OBJECT_BYTES} bytes, found {info.size_bytes}: look at it with your own tools")
    stored = find(store, key) if info is not None else None
    if stored is None:
        raise Refused(f"{key}: expected an object, found none: `retune dlq list`")
    return _read(stored)


def refuse_replay(store: ObjectStore, key: str) -> None:
    """Say why what is in quarantine is not published again.

    Raises:
        Refused: always.
    """
    found = open_quarantined(store, key)
    why = found.problem if found.refusal is None else f"{found.refusal.function} refused it for good: {found.refusal.reason}"
    raise Refused(f"{key}: not published again: {why}; mend the sender, and let it send anew")


def drop_quarantined(store: ObjectStore, key: str, *, by: str, reason: str) -> Quarantined:
    """Write into an object in quarantine who gave it up, and why; what cannot be read becomes the body of a refusal that can.

    Raises:
        Refused: there is none of that name, or it is dropped already.
        Conflict: somebody else has just changed it.
    """
    found = open_quarantined(store, key)
    said = f"{DROPPED}{by} (claimed): {reason}"
    if found.refusal is None:
        body = body_of(found.stored.data)
        kept = Refusal(
            function="unknown",
            reason=f"{said}; {found.problem}",
            at=found.stored.info.updated,
            body_bytes=body.size_bytes,
            body=found.stored.data.decode(errors="backslashreplace"),
            body_sha256=body.sha256,
        )
    elif found.refusal.reason.startswith(DROPPED):
        raise Refused(f"{key}: expected what nobody has dropped, found {found.refusal.reason}")
    else:
        kept = found.refusal.model_copy(update={"reason": f"{said}; refused: {found.refusal.reason}"})
    info = commit(store, key, document_bytes(kept), if_generation_match=found.stored.info.generation)
    return _summary(Found(StoredObject(info, b""), kept))


def _read(stored: StoredObject) -> Found:
    try:
        refusal = parse_document(Refusal, stored.data, what="refused message")
    except CorruptObject as error:
        return Found(stored, None, f"{UNREADABLE}{error}")
    return Found(stored, refusal)


def _summary(found: Found) -> Quarantined:
    key, refusal = found.stored.info.key, found.refusal
    if refusal is None:
        info = found.stored.info
        return Quarantined(key=key, function="", reason=found.problem, at=info.updated, body_bytes=info.size_bytes, readable=False)
    return Quarantined(key=key, function=refusal.function, reason=refusal.reason, at=refusal.at, body_bytes=refusal.body_bytes)
