"""A store and a bus that let an account do what Terraform grants it, and nothing else, as Cloud Storage and Pub/Sub would."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.bus import Outgoing, Publisher
from shared.objectstore import ABSENT, Generation, ObjectInfo, ObjectStore, StoredObject


class Forbidden(AssertionError):
    """An account asked for what it was not granted: no handler takes it for one of its own errors."""


class GrantedStore:
    """An `ObjectStore` seen by one account.

    What Cloud Storage asks for: to replace an object is to create and to delete; without `list` an absent object is forbidden, not
    absent. So whoever gets must list as well.
    """

    def __init__(self, inner: ObjectStore, account: str, access: Mapping[str, frozenset[str]]) -> None:
        self._inner = inner
        self._account = account
        self._access = access
        self.used: set[tuple[str, str]] = set()

    @property
    def uri(self) -> str:
        return self._inner.uri

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        self._need(key, "get", "list")
        return self._inner.get(key, generation=generation)

    def stat(self, key: str) -> ObjectInfo:
        self._need(key, "get", "list")
        return self._inner.stat(key)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        self._need(key, "get", "list")
        return self._inner.get_to_file(key, path, generation=generation)

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        self._need(prefix, "list")
        return self._inner.list(prefix, start_after=start_after)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        self._need(key, *_writing(if_generation_match))
        return self._inner.put(key, data, if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        self._need(key, *_writing(if_generation_match))
        return self._inner.put_file(key, path, if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        self._need(key, "delete")
        self._inner.delete(key, if_generation_match=if_generation_match)

    def _need(self, key: str, *verbs: str) -> None:
        folder = key.split("/", maxsplit=1)[0]
        missing = [verb for verb in verbs if verb not in self._access.get(folder, frozenset())]
        if missing:
            raise Forbidden(f"{self._account} may not {' and '.join(missing)} in {folder}/ (wanted {key}): see infra/access.tf")
        self.used.update((folder, verb) for verb in verbs)


def _writing(if_generation_match: Generation | None) -> tuple[str, ...]:
    return ("create",) if if_generation_match == ABSENT else ("create", "delete")


class GrantedPublisher:
    """A `Publisher` seen by one account."""

    def __init__(self, inner: Publisher, account: str, topics: frozenset[str]) -> None:
        self._inner = inner
        self._account = account
        self._topics = topics
        self.used: set[str] = set()

    def publish(self, message: Outgoing) -> str:
        if message.topic not in self._topics:
            raise Forbidden(f"{self._account} may not publish to {message.topic}: see infra/wiring.tf")
        self.used.add(message.topic)
        return self._inner.publish(message)
