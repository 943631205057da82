"""Answers by the digest of all that determined them, so that a rerun asks nothing twice."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from shared.cas import create, find
from shared.errors import CorruptObject
from shared.events import Digest
from shared.frozen import Frozen
from shared.objectstore import ObjectStore
from shared.training import sha256_hex


class CachedAnswer(Frozen):
    """A stored answer; `identity_sha256` repeats the key, so that a copy under another name is not believed."""

    v: Literal[1] = 1
    identity_sha256: Digest
    text: str


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of `identity`: keys sorted, no spaces, UTF-8."""
    return sha256_hex(json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


class AnswerCache:
    """Answers in an object store, one object each.

    Args:
        prefix: goes before every key, with its slash, as `gold/answers/`.
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
        except CorruptObject:
            return None
        return _text(stored.data, digest) if stored else None

    def keep(self, digest: str, text: str) -> str:
        """Store an answer and return the one that stands: the first of two writers wins, and a broken one is replaced.

        Raises:
            CommitUnknown, Retryable: the store could not be reached.
            CorruptObject: the store cannot even replace what stands there.
        """
        key = self._key(digest)
        data = CachedAnswer(identity_sha256=digest, text=text).model_dump_json().encode()
        try:
            standing = _text(create(self._store, key, data).data, digest)
        except CorruptObject:
            standing = None
        if standing is None:
            self._store.put(key, data, content_type="application/json")
            return text
        return standing

    def _key(self, digest: str) -> str:
        return f"{self._prefix}{digest}.json"


def _text(data: bytes, digest: str) -> str | None:
    try:
        answer = CachedAnswer.model_validate_json(data)
    except ValidationError:
        return None
    return answer.text if answer.identity_sha256 == digest else None
