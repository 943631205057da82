"""Objects of JSON lines that may be longer than memory: read into a spool, written from one."""

import atexit
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Generic, TypeVar

from pydantic import BaseModel

from shared.cas import commit, commit_file
from shared.documents import line_bytes, parse_document, sha256_hex
from shared.errors import Conflict, NotFound
from shared.objectstore import ABSENT, ObjectInfo, ObjectStore
from shared.spool import Form, Spool

WHOLE_BYTES = 8 << 20
"""What is longer is written from a file."""
CONTENT_TYPE = "application/x-ndjson"

Item = TypeVar("Item")
Document = TypeVar("Document", bound=BaseModel)


@dataclass(frozen=True)
class LinesObject(Generic[Item]):
    """An object of JSON lines.

    Attributes:
        info: what a listing tells of it.
        sha256: of its bytes.
        rows: its lines; CorruptObject where one is read that is not of its kind.
    """

    info: ObjectInfo
    sha256: str
    rows: Spool[Item]


def lines_of(cls: type[Document], *, what: str) -> Form[Document]:
    """Return the form of a document's lines; see `shared.documents.parse_document` for `what`."""
    return Form(dump=line_bytes, parse=partial(parse_document, cls, what=what))


def find_lines(store: ObjectStore, key: str, form: Form[Item]) -> LinesObject[Item] | None:
    """Read an object that may not exist."""
    try:
        return get_lines(store, key, form)
    except NotFound:
        return None


def get_lines(store: ObjectStore, key: str, form: Form[Item]) -> LinesObject[Item]:
    """Read an object. Raises as `ObjectStore.get`."""
    rows = Spool(form)
    digest = hashlib.sha256()
    with _scratch_file() as path:
        info = store.get_to_file(key, path)
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                if line.strip():
                    rows.add_line(line.rstrip(b"\n"))
    return LinesObject(info, digest.hexdigest(), rows)


def create_lines(
    store: ObjectStore, key: str, rows: Iterable[Item], form: Form[Item], *, metadata: Mapping[str, str] | None = None
) -> LinesObject[Item]:
    """Create an object of these lines if it is absent and return what stands there: ours, or the earlier winner's."""
    kept = rows if isinstance(rows, Spool) else Spool(form, rows)
    try:
        return _commit(store, key, kept, metadata)
    except Conflict:
        return get_lines(store, key, form)


def _commit(store: ObjectStore, key: str, rows: Spool[Item], metadata: Mapping[str, str] | None) -> LinesObject[Item]:
    if rows.size_bytes <= WHOLE_BYTES:
        data = b"".join(line + b"\n" for line in rows.lines())
        info = commit(store, key, data, if_generation_match=ABSENT, metadata=metadata, content_type=CONTENT_TYPE)
        return LinesObject(info, sha256_hex(data), rows)
    digest = hashlib.sha256()
    with _scratch_file() as path:
        with path.open("xb") as file:
            for line in rows.lines():
                digest.update(line + b"\n")
                file.write(line + b"\n")
        info = commit_file(store, key, path, if_generation_match=ABSENT, metadata=metadata, content_type=CONTENT_TYPE)
    return LinesObject(info, digest.hexdigest(), rows)


@contextmanager
def _scratch_file() -> Iterator[Path]:
    """Give the name of a file that may be written, and is gone afterwards."""
    path = _scratch_folder(os.getpid()) / uuid.uuid4().hex
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@cache
def _scratch_folder(process: int) -> Path:
    """Make a folder for all files of a process: to make and remove one takes longer than to write a few lines."""
    folder = Path(mkdtemp(prefix=f"retune-lines-{process}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
