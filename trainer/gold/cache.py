"""Answers by the digest of all that determined them, so that a rerun asks nothing twice."""

from typing import Literal

from pydantic import ValidationError

from shared.cas import commit, find
from shared.documents import Frozen
from shared.errors import Conflict, CorruptObject
from shared.events import Digest
from shared.objectstore import ABSENT, ObjectStore


class CachedAnswer(Frozen):
    """A stored answer; `identity_sha256` repeats the key, so that a copy under another name is not believed."""

    v: Literal[1] = 1
    identity_sha256: Digest
    text: str


class AnswerCache:
    """Answers in an object store, one object each.

    Args:
        store: where they lie.
        prefix: goes before every key, with its slash, as `shared.keys.GOLD_ANSWERS`.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def find(self, digest: str) -> str | None:
        """Return the answer; None where there is none, or none that can be read.

        Raises:
            Retryable: the store could not be reached.
        """
        try:
            stored = find(self._store, self._key(digest))
            answer = CachedAnswer.model_validate_json(stored.data) if stored else None
        except (CorruptObject, ValidationError):
            return None
        return answer.text if answer and answer.identity_sha256 == digest else None

    def keep(self, digest: str, text: str) -> str:
        """Store an answer and return the one that stands: the first of two writers wins, and a broken one is replaced.

        Raises:
            CommitUnknown, Retryable: the store could not be reached.
            CorruptObject: the store cannot even replace what stands there.
        """
        data = CachedAnswer(identity_sha256=digest, text=text).model_dump_json().encode()
        try:
            commit(self._store, self._key(digest), data, if_generation_match=ABSENT)
        except (Conflict, CorruptObject):
            standing = self.find(digest)
            if standing is not None:
                return standing
            self._store.put(self._key(digest), data, content_type="application/json")
        return text

    def _key(self, digest: str) -> str:
        return f"{self._prefix}{digest}.json"
