"""Where models come from: the bucket that Retune keeps its registry in [io]."""

import threading
from pathlib import Path
from typing import Any, Protocol

from retune_client.errors import ObjectMissingError


class ModelStore(Protocol):
    """What the router needs of a bucket. Any exception means "not now"; the router tries again."""

    def read(self, key: str) -> bytes:
        """Return the bytes of a small object.

        Raises:
            ObjectMissingError: there is no such object.
        """
        ...

    def download(self, key: str, path: Path) -> None:
        """Write an object's bytes to a new file.

        Raises:
            ObjectMissingError: there is no such object.
        """
        ...


class GcsModelStore:
    """A bucket on Cloud Storage; the client is made at the first call and finds its credentials as Google's clients do."""

    def __init__(self, bucket: str, *, client: Any = None) -> None:
        self._name = bucket
        self._client = client
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        """Return the bytes of a small object, or raise ObjectMissingError."""
        from google.api_core.exceptions import NotFound

        try:
            return bytes(self._blob(key).download_as_bytes())
        except NotFound as error:
            raise self._missing(key) from error

    def download(self, key: str, path: Path) -> None:
        """Write an object's bytes to a new file, or raise ObjectMissingError."""
        from google.api_core.exceptions import NotFound

        try:
            self._blob(key).download_to_filename(str(path))
        except NotFound as error:
            raise self._missing(key) from error

    def _blob(self, key: str) -> Any:
        from google.cloud import storage

        with self._lock:
            if self._client is None:
                self._client = storage.Client()
        return self._client.bucket(self._name).blob(key)

    def _missing(self, key: str) -> ObjectMissingError:
        return ObjectMissingError(f"gs://{self._name}/{key}: expected an object, found none")
