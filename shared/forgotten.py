"""People who were forgotten: what was done, without their names, and how digests of redacted objects are still understood.

corpora/forgotten/<token>.json             what was done; the token is a keyed hash, as a speaker's is
corpora/forgotten/digests/<sha256>.json    an object has another digest since; named by the hash of its key and the old one
"""

from typing import Literal

from pydantic import AwareDatetime

from shared import keys
from shared.cas import create, document_codec, find_document
from shared.documents import Frozen, document_bytes, sha256_hex
from shared.events import Digest
from shared.objectstore import ObjectStore

Kind = Literal["speaker", "session", "utterance"]
MAX_REDACTIONS = 1000
"""Of one object; more would be a circle."""


class Redaction(Frozen):
    """One object from which a person was removed.

    Attributes:
        old_sha256, new_sha256: digests of its bytes before and after.
    """

    key: str
    old_sha256: Digest
    new_sha256: Digest


class ForgetRun(Frozen):
    """One pass of the command that found something; written before anything is removed.

    Attributes:
        by: who ran it, as they claim.
        removed: items by place.
    """

    at: AwareDatetime
    by: str
    removed: dict[str, int]


class Forgotten(Frozen):
    """What was done to forget one person, session or utterance; nothing here tells who it was.

    Attributes:
        token: keyed hash of kind and id.
        cycles: cycles that trained or tuned with their clips; written before anything is removed, since afterwards nobody can tell.
        runs: oldest first.
    """

    v: Literal[1] = 1
    kind: Kind
    token: str
    cycles: tuple[int, ...] = ()
    runs: tuple[ForgetRun, ...] = ()


CODEC = document_codec(Forgotten, what="forgotten")


def record_redaction(store: ObjectStore, redaction: Redaction) -> None:
    """Say that an object will have another digest; before it has."""
    create(store, _place(redaction.key, redaction.old_sha256), document_bytes(redaction))


def _place(key: str, sha256: str) -> str:
    return keys.redaction(sha256_hex(f"{key}\n{sha256}".encode()))


def became(store: ObjectStore, key: str, old_sha256: str, new_sha256: str) -> bool:
    """Tell whether an object of the first digest is the one of the second, after people were removed from it."""
    digest = old_sha256
    for _ in range(MAX_REDACTIONS):
        if digest == new_sha256:
            return True
        found = find_document(store, _place(key, digest), Redaction)
        if found is None:
            return False
        digest = found.new_sha256
    return False
