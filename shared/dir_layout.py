"""How `DirStore` lays objects out on a disk. Pure but for `find_keys` and `read_record`.

One object is one file: its data, then a line of JSON with all the rest (the record), then a footer that says how long the
line is. So one rename publishes an object whole, and no kill can part data from metadata. Keys become paths below
`objects/`: a folder per `/`, every byte outside a small lower-case alphabet escaped, so that a file system that folds case
or normalises Unicode keeps keys apart.

    ledger/000001/a.jsonl   ->  ledger/000001/a.jsonl@
    Report #1/../x          ->  ^report%20%231/%2e./x@
    300 letters             ->  the first 200 letters@@/the other 100@
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.errors import CorruptObject
from shared.objectstore import Generation, ObjectInfo

OBJECT_SUFFIX = "@"
CONTINUED_SUFFIX = "@@"
"""Ends a folder that holds the rest of a key component too long for one file name."""

MAX_NAME_CHARS = 200
_EMPTY = "%"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.=+,")
_ESCAPED = re.compile(rb"%([0-9a-f]{2})|\^([a-z])")
_FOOTER = re.compile(rb"\n([0-9a-f]{8}) retune-1\n")
_FOOTER_BYTES = 19
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Record:
    """Everything about a stored object but its data.

    Attributes:
        info: what the object-store port tells.
        metageneration: 1 for a new generation, one more for every change of metadata.
        modified: when the metadata changed last, aware UTC.
        md5: MD5 of the data, base64, where the writer asked for it.
        attributes: what else a Cloud Storage client may set (`cacheControl`, `contentEncoding`, ...).
    """

    info: ObjectInfo
    metageneration: int
    modified: datetime
    md5: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def _token(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    if ord("A") <= byte <= ord("Z"):
        return "^" + chr(byte).lower()
    return f"%{byte:02x}"


_TOKENS = tuple(_token(byte) for byte in range(256))


def _names(component: bytes) -> list[str]:
    """Spell one key component as file names: all but the last are folders that continue in the next."""
    names: list[str] = []
    name = ""
    for byte in component:
        # A leading dot would make a hidden file, "." or "..".
        if len(name) + len(_TOKENS[byte]) > MAX_NAME_CHARS:
            names.append(name + CONTINUED_SUFFIX)
            name = ""
        name += "%2e" if byte == ord(".") and not name else _TOKENS[byte]
    return [*names, name or _EMPTY]


def _decode(name: str) -> bytes:
    encoded = name.encode("ascii", errors="replace")
    if name == _EMPTY:
        return b""
    if b"%" not in encoded and b"^" not in encoded:
        return encoded
    return _ESCAPED.sub(lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2].upper(), encoded)


def relative_path(key: str) -> Path:
    """Return the path of a key's file below `objects/`."""
    names = [name for component in key.encode().split(b"/") for name in _names(component)]
    return Path(*names[:-1], names[-1] + OBJECT_SUFFIX)


def _folder(objects: Path, prefix: bytes) -> tuple[Path, bytes]:
    """Return the deepest folder that holds every key under `prefix`, and the part of the key that it stands for."""
    components = prefix.split(b"/")[:-1]
    names = [name for component in components for name in _names(component)]
    return objects.joinpath(*names), b"".join(component + b"/" for component in components)


def find_keys(objects: Path, prefix: bytes, start: bytes = b"") -> list[bytes]:
    """Return the UTF-8 keys under `prefix` that are not less than `start`, in order, without opening any file."""
    found: list[bytes] = []
    folders = [_folder(objects, prefix)]
    while folders:
        folder, base = folders.pop()
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                name = entry.name
                if name.endswith(CONTINUED_SUFFIX):
                    inner = base + _decode(name.removesuffix(CONTINUED_SUFFIX))
                elif name.endswith(OBJECT_SUFFIX):
                    key = base + _decode(name.removesuffix(OBJECT_SUFFIX))
                    if key.startswith(prefix) and key >= start:
                        found.append(key)
                    continue
                elif entry.is_dir():
                    inner = base + _decode(name) + b"/"
                else:
                    continue  # not ours: a file browser's droppings
                may_match = inner.startswith(prefix) or prefix.startswith(inner)
                if may_match and (inner >= start or start.startswith(inner)):
                    folders.append((Path(entry.path), inner))
    found.sort()
    return found


def dump_record(record: Record) -> bytes:
    """Return the trailer of an object's file."""
    info = record.info
    line = json.dumps(
        {
            "key": info.key,
            "generation": info.generation,
            "size_bytes": info.size_bytes,
            "crc32c": info.crc32c,
            "updated": info.updated.isoformat(),
            "metadata": dict(info.metadata),
            "content_type": info.content_type,
            "metageneration": record.metageneration,
            "modified": record.modified.isoformat(),
            "md5": record.md5,
            "attributes": dict(record.attributes),
        }
    ).encode()
    return b"\n" + line + b"\n%08x retune-1\n" % (len(line) + 1)


def _parse_record(line: bytes) -> Record:
    fields: dict[str, Any] = json.loads(line)
    info = ObjectInfo(
        key=fields["key"],
        generation=Generation(fields["generation"]),
        size_bytes=fields["size_bytes"],
        crc32c=fields["crc32c"],
        updated=datetime.fromisoformat(fields["updated"]),
        metadata=fields["metadata"],
        content_type=fields["content_type"],
    )
    modified = datetime.fromisoformat(fields["modified"])
    return Record(info, fields["metageneration"], modified, fields["md5"], fields["attributes"])


def read_record(descriptor: int, path: Path) -> Record:
    """Read the trailer of an open object file.

    Raises:
        CorruptObject: the file was not written by `DirStore`, or was changed since.
    """
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    footer = _FOOTER.fullmatch(tail[-_FOOTER_BYTES:])
    if footer is None:
        raise CorruptObject(f"{path}: expected a footer, found {tail[-_FOOTER_BYTES:]!r}")
    trailer_bytes = int(footer[1], 16) + _FOOTER_BYTES
    if trailer_bytes > len(tail):
        tail = os.pread(descriptor, trailer_bytes, max(0, size - trailer_bytes))
    record = _parse_record(tail[-trailer_bytes:-_FOOTER_BYTES])
    if record.info.size_bytes + trailer_bytes != size:
        raise CorruptObject(f"{path}: expected {record.info.size_bytes} bytes of data, found {size - trailer_bytes}")
    return record
