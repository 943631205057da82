"""From the address of a store to the store."""

import re
from pathlib import Path
from urllib.parse import unquote

from shared.errors import InvalidMessage
from shared.objectstore import ObjectStore, check_key

_BUCKET = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])")
_OBJECT = re.compile(rf"({_BUCKET.pattern})/(.+)", re.DOTALL)


def open_store(uri: str) -> ObjectStore:
    """Return the store at `gs://bucket` or `file:///absolute/folder`; nothing is contacted or made.

    Raises:
        InvalidMessage: it is neither.
    """
    if uri.startswith("file:///") and len(uri) > len("file:///"):
        from shared.dir_store import DirStore

        return DirStore(Path(unquote(uri.removeprefix("file://"))))
    if bucket := _BUCKET.fullmatch(uri):
        from shared.gcs_store import GcsStore

        return GcsStore(bucket[1])
    raise InvalidMessage(f"store {uri!r}: expected gs://bucket or file:///absolute/folder")


def split_uri(uri: str) -> tuple[str, str]:
    """Return the address of the store and the key of `gs://bucket/key`.

    Raises:
        InvalidMessage: it is not the address of an object in Cloud Storage.
    """
    found = _OBJECT.fullmatch(uri)
    if found is None:
        raise InvalidMessage(f"object {uri!r}: expected gs://bucket/key")
    return found[1], check_key(found[3])
