"""Stored records as Cloud Storage describes them, and the preconditions on them.

Source: https://cloud.google.com/storage/docs/json_api and what google-cloud-storage 3.17 sends and reads.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.gcs_server.wire import HttpError, as_object, parse_int
from shared.dir_layout import Record
from shared.dir_store import Description

ATTRIBUTES = ("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "customTime", "storageClass")
"""Fields of an object that a client may set, besides its metadata and content type."""


@dataclass(frozen=True)
class Preconditions:
    """What must hold of the present object."""

    generation: int | None
    generation_not: int | None
    metageneration: int | None
    metageneration_not: int | None

    @classmethod
    def parse(cls, query: Mapping[str, str], prefix: str = "if") -> "Preconditions":
        """Read them from the query; `prefix` is `ifSource` for the source of a copy."""
        names = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return cls(*(parse_int(query, prefix + name) for name in names))

    def check(self, record: Record | None) -> None:
        """Raise HttpError (412, or 304 for "not match") unless they hold; 0 is the generation of what does not exist."""
        generation = record.info.generation if record else 0
        metageneration = record.metageneration if record else None
        if self.generation not in {None, generation} or self.metageneration not in {None, metageneration}:
            message = "At least one of the pre-conditions you specified did not hold."
            raise HttpError(412, "conditionNotMet", message, locationType="header", location="If-Match")
        unwanted = [self.generation_not, self.metageneration_not]
        if unwanted != [None, None] and (record is None or self.generation_not == generation or self.metageneration_not == metageneration):
            raise HttpError(304, "notModified", "Not Modified")


def describe(resource: Mapping[str, Any], content_type: str) -> Description:
    """Return what a client says of an object; `content_type` is for a resource that names none."""
    metadata = {str(name): str(value) for name, value in as_object(resource.get("metadata")).items() if value is not None}
    attributes = {name: str(resource[name]) for name in ATTRIBUTES if resource.get(name) is not None}
    return Description(metadata, str(resource.get("contentType") or content_type), attributes)


def etag(record: Record) -> str:
    """Return a tag that changes with generation and metageneration."""
    return base64.b64encode(f"{record.info.generation}/{record.metageneration}".encode()).decode()


def object_resource(bucket: str, record: Record) -> dict[str, Any]:
    """Return an object as the API describes it; numbers are strings."""
    info = record.info
    resource: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{bucket}/{info.key}/{info.generation}",
        "name": info.key,
        "bucket": bucket,
        "generation": str(info.generation),
        "metageneration": str(record.metageneration),
        "size": str(info.size_bytes),
        "contentType": info.content_type,
        "crc32c": info.crc32c,
        "etag": etag(record),
        "storageClass": "STANDARD",
        "timeCreated": _rfc3339(info.updated.isoformat()),
        "updated": _rfc3339(record.modified.isoformat()),
        **record.attributes,
    }
    if record.md5:
        resource["md5Hash"] = record.md5
    if info.metadata:
        resource["metadata"] = dict(info.metadata)
    return resource


def _rfc3339(iso: str) -> str:
    return iso.replace("+00:00", "Z") if "." in iso else iso.replace("+00:00", ".000000Z")


def object_headers(record: Record) -> dict[str, str]:
    """Return the headers of a download; the hashes are of the whole object, whatever the range."""
    info, attributes = record.info, record.attributes
    md5 = f",md5={record.md5}" if record.md5 else ""
    headers = {
        "Content-Type": info.content_type,
        "ETag": etag(record),
        "Accept-Ranges": "bytes",
        "X-Goog-Hash": f"crc32c={info.crc32c}{md5}",
        "X-Goog-Generation": str(info.generation),
        "X-Goog-Metageneration": str(record.metageneration),
        "X-Goog-Storage-Class": attributes.get("storageClass", "STANDARD"),
        "X-Goog-Stored-Content-Encoding": attributes.get("contentEncoding", "identity"),
        "X-Goog-Stored-Content-Length": str(info.size_bytes),
    }
    named = {"cacheControl": "Cache-Control", "contentEncoding": "Content-Encoding", "contentLanguage": "Content-Language"}
    return headers | {header: attributes[name] for name, header in named.items() if name in attributes}
