"""Which request does what: buckets, objects, copies, batches."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.gcs_server import wire
from infra.local.gcs_server.batch import serve_batch
from infra.local.gcs_server.resources import ATTRIBUTES, Preconditions, describe, etag, object_headers, object_resource
from infra.local.gcs_server.uploads import Uploads
from infra.local.gcs_server.wire import FileSlice, HttpError, Request, Response
from shared.clock import Clock
from shared.dir_layout import Record
from shared.dir_store import Description, DirStore
from shared.errors import InvalidMessage, NotFound
from shared.objectstore import check_key
from shared.whole_file import read_blocks

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PAGE = 1000
_AFTER_ALL = b"\xff"
"""Sorts after every continuation of a UTF-8 key."""


class _Entry(NamedTuple):
    name: str
    is_prefix: bool
    next_start: bytes


class GcsApi:
    """The Cloud Storage JSON API over folders: each folder below `root` is a bucket, kept by a `DirStore`.

    Args:
        root: the folder of buckets.
        clock: handed to the stores.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self._root = root
        self._clock = clock
        self._stores: dict[str, DirStore] = {}
        self._uploads = Uploads(self._store)

    def close(self) -> None:
        """Forget the uploads that have not ended."""
        self._uploads.close()

    def handle(self, request: Request) -> Response:
        """Serve one request; a refusal is a response."""
        try:
            return self._route(request)
        except HttpError as error:
            return error.response
        except NotFound as error:
            return wire.not_found(str(error)).response
        except InvalidMessage as error:
            return wire.invalid(str(error)).response

    def _route(self, request: Request) -> Response:  # noqa: C901, PLR0911 - one case a route
        match (request.method, *request.path):
            case ("GET", ""):
                return Response(body=b"ok")
            case ("POST", "upload", "storage", "v1", "b", bucket, "o"):
                return self._uploads.insert(bucket, request)
            case ("PUT", "upload", "storage", "v1", "b", _, "o"):
                return self._uploads.resume(request)
            case ("GET", "download", "storage", "v1", "b", bucket, "o", key):
                return self._download(bucket, key, request)
            case ("POST", "batch", "storage", "v1"):
                return serve_batch(request, self.handle)
            case (method, "storage", "v1", "b", *rest) if len(rest) < 2:
                return self._bucket(method, rest[0] if rest else None, request)
            case (method, "storage", "v1", "b", bucket, "o"):
                return self._list(bucket, request) if method == "GET" else _no_such_method(request)
            case (_, "storage", "v1", "b", bucket, "o", key):
                return self._object(bucket, key, request)
            case ("POST", "storage", "v1", "b", bucket, "o", key, "compose"):
                return self._compose(bucket, key, request)
            case ("POST", "storage", "v1", "b", bucket, "o", key, "copyTo", "b", other, "o", name):
                return wire.json_response(object_resource(other, self._copy((bucket, key), (other, name), request)))
            case ("POST", "storage", "v1", "b", bucket, "o", key, "rewriteTo", "b", other, "o", name):
                return _rewritten(object_resource(other, self._copy((bucket, key), (other, name), request)))
        return _no_such_method(request)

    # Buckets

    def _store(self, bucket: str) -> DirStore:
        if not _BUCKET.fullmatch(bucket) or not (self._root / bucket).is_dir():
            raise HttpError(404, "notFound", "The specified bucket does not exist.")
        if bucket not in self._stores:
            self._stores[bucket] = DirStore(self._root / bucket, self._clock)
        return self._stores[bucket]

    def _bucket(self, method: str, bucket: str | None, request: Request) -> Response:
        match (method, bucket):
            case ("GET", None):
                names = sorted(path.name for path in self._root.iterdir() if path.is_dir() and _BUCKET.fullmatch(path.name))
                prefix = request.query.get("prefix", "")
                items = [_bucket_resource(name) for name in names if name.startswith(prefix)]
                return wire.json_response({"kind": "storage#buckets", "items": items})
            case ("POST", None):
                return self._create_bucket(str(request.json().get("name", "")))
            case ("GET", str(name)):
                self._store(name)
                return wire.json_response(_bucket_resource(name))
            case ("DELETE", str(name)):
                if not self._store(name).remove_if_empty():
                    raise HttpError(409, "conflict", "The bucket you tried to delete is not empty.")
                return Response(204)
        return _no_such_method(request)

    def _create_bucket(self, name: str) -> Response:
        if not _BUCKET.fullmatch(name):
            raise wire.invalid(f"Invalid bucket name: {name!r}")
        try:
            (self._root / name).mkdir(parents=True)
        except FileExistsError as error:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise HttpError(409, "conflict", message) from error
        return wire.json_response(_bucket_resource(name))

    # Objects

    def _object(self, bucket: str, key: str, request: Request) -> Response:
        store = self._store(bucket)
        preconditions = Preconditions.parse(request.query)

        def check(record: Record | None) -> None:
            preconditions.check(_of_generation(record, key, request.query))

        match request.method:
            case "GET" if request.query.get("alt") == "media":
                return self._download(bucket, key, request)
            case "GET":
                record = store.record(key)
                check(record)
                return wire.json_response(object_resource(bucket, record))
            case "DELETE":
                store.remove(key, check)
                return Response(204)
            case "PATCH" | "PUT":
                resource = request.json()

                def change(record: Record) -> Description:
                    check(record)
                    return _merged(record, resource) if request.method == "PATCH" else describe(resource, record.info.content_type)

                return wire.json_response(object_resource(bucket, store.describe(key, change)))
        return _no_such_method(request)

    def _download(self, bucket: str, key: str, request: Request) -> Response:
        record, file = self._store(bucket).open(key)
        try:
            Preconditions.parse(request.query).check(_of_generation(record, key, request.query))
            _check_etag(record, request.headers)
            size = record.info.size_bytes
            place = wire.parse_range(request.headers.get("range"), size)
        except HttpError as error:
            file.close()
            if error.response.status == 416:
                return replace(error.response, headers={**error.response.headers, "Content-Range": f"bytes */{record.info.size_bytes}"})
            raise
        if place is None:
            return Response(200, object_headers(record), file=FileSlice(file, 0, size))
        start, length = place
        headers = {**object_headers(record), "Content-Range": f"bytes {start}-{start + length - 1}/{size}"}
        return Response(206, headers, file=FileSlice(file, start, length))

    def _list(self, bucket: str, request: Request) -> Response:
        if "matchGlob" in request.query:
            raise HttpError(501, "notImplemented", "matchGlob is not served here")
        store = self._store(bucket)
        limit = min(wire.parse_int(request.query, "maxResults") or _PAGE, _PAGE)
        page: list[_Entry] = []
        more = False
        for entry in _entries(store, request.query):
            if more := len(page) == limit:
                break
            page.append(entry)
        records = [store.find(entry.name) for entry in page if not entry.is_prefix]
        body: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [object_resource(bucket, record) for record in records if record],
            "prefixes": [entry.name for entry in page if entry.is_prefix],
        }
        if more:
            body["nextPageToken"] = base64.urlsafe_b64encode(page[-1].next_start).decode()
        return wire.json_response(body)

    # Objects made of objects

    def _compose(self, bucket: str, key: str, request: Request) -> Response:
        store = self._store(bucket)
        order = request.json()
        sources = order.get("sourceObjects") or []
        if not isinstance(sources, list):
            raise wire.invalid("Parse Error: expected a list of source objects")
        if not 1 <= len(sources) <= 32:
            raise wire.invalid(f"The number of source components provided ({len(sources)}) must be between 1 and 32.")
        content_type = ""
        with store.draft() as draft:
            for source in map(wire.as_object, sources):
                record, file = store.open(check_key(str(source.get("name", ""))))
                with file:
                    asked = {**wire.as_object(source.get("objectPreconditions")), "generation": source.get("generation") or ""}
                    query = {name: str(value) for name, value in asked.items()}
                    Preconditions.parse(query).check(_of_generation(record, record.info.key, query))
                    content_type = content_type or record.info.content_type
                    for block in read_blocks(file, record.info.size_bytes):
                        draft.data.write(block)
            description = describe(wire.as_object(order.get("destination")), content_type)
            record = store.commit(draft, key, description, Preconditions.parse(request.query).check)
        return wire.json_response(object_resource(bucket, record))

    def _copy(self, source: tuple[str, str], target: tuple[str, str], request: Request) -> Record:
        resource = request.json()
        store = self._store(target[0])
        record, file = self._store(source[0]).open(source[1])
        with file, store.draft(with_md5=True) as draft:
            asked = _of_generation(record, source[1], request.query, "sourceGeneration")
            Preconditions.parse(request.query, "ifSource").check(asked)
            for block in read_blocks(file, record.info.size_bytes):
                draft.data.write(block)
            redescribed = any(name in resource for name in ("metadata", "contentType", *ATTRIBUTES))
            description = describe(resource, record.info.content_type) if redescribed else _description(record)
            return store.commit(draft, target[1], description, Preconditions.parse(request.query).check)


def _no_such_method(request: Request) -> Response:
    raise HttpError(404, "notFound", f"Not served here: {request.method} /{'/'.join(request.path)}")


def _bucket_resource(name: str) -> dict[str, Any]:
    return {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "location": "LOCAL",
        "storageClass": "STANDARD",
        "metageneration": "1",
        "etag": "CAE=",
    }


def _rewritten(resource: Mapping[str, Any]) -> Response:
    size = resource["size"]
    done = {"kind": "storage#rewriteResponse", "done": True, "totalBytesRewritten": size, "objectSize": size, "resource": resource}
    return wire.json_response(done)


def _of_generation(record: Record | None, key: str, query: Mapping[str, str], name: str = "generation") -> Record:
    """Return the record if it is of the generation that was asked for; older ones are not kept. Raises HttpError."""
    if record is None or wire.parse_int(query, name) not in {None, record.info.generation}:
        raise wire.not_found(key)
    return record


def _check_etag(record: Record, headers: Mapping[str, str]) -> None:
    tag = etag(record)
    if headers.get("if-match", tag).strip('"') != tag:
        raise HttpError(412, "conditionNotMet", "Precondition Failed", locationType="header", location="If-Match")
    if headers.get("if-none-match", "").strip('"') == tag:
        raise HttpError(304, "notModified", "Not Modified")


def _description(record: Record) -> Description:
    return Description(record.info.metadata, record.info.content_type, record.attributes)


def _merged(record: Record, changes: Mapping[str, Any]) -> Description:
    """Apply a JSON merge patch: null removes."""
    metadata = {**record.info.metadata, **wire.as_object(changes.get("metadata"))}
    if "metadata" in changes and changes["metadata"] is None:
        metadata = {}
    return describe({**record.attributes, **changes, "metadata": metadata}, record.info.content_type)


def _entries(store: DirStore, query: Mapping[str, str]) -> Iterator[_Entry]:
    """Yield the objects and, under a delimiter, the common prefixes of a listing, in order."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    try:
        token = base64.urlsafe_b64decode(query.get("pageToken", ""))
    except ValueError as error:
        raise wire.invalid("Invalid pageToken") from error
    end = query.get("endOffset", "").encode()
    last = ""
    for key in store.keys(prefix, max(token, query.get("startOffset", "").encode())):
        if end and key.encode() >= end:
            return
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            yield _Entry(key, is_prefix=False, next_start=key.encode() + b"\0")
        elif not last or not key.startswith(last):
            last = key[: cut + len(delimiter)]
            yield _Entry(last, is_prefix=True, next_start=last.encode() + _AFTER_ALL)
