"""The three ways to upload: media, multipart and resumable.

client                                    server
  | POST ?uploadType=resumable             | preconditions; a draft
  |<-- 200 Location: ...&upload_id=X ------|
  | PUT X  bytes 0-4194303/9437184         |
  |<-- 308 Range: bytes=0-4194303 ---------|
  |   x reply lost: the same PUT again     | bytes that are already there are skipped
  | PUT X  bytes 8388608-9437183/9437184   | digests; preconditions and commit under the store's lock
  |<-- 200 object -------------------------|
  |   x reply lost: the same PUT again     | the stored answer, whether it was a yes or a no
"""

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from infra.local.gcs_server import wire
from infra.local.gcs_server.resources import Preconditions, describe, object_resource
from infra.local.gcs_server.wire import HttpError, Request, Response
from shared.dir_store import Description, DirStore, Draft
from shared.errors import InvalidMessage
from shared.objectstore import check_key
from shared.whole_file import BLOCK_BYTES


@dataclass(frozen=True)
class Target:
    """Where an upload goes and what was promised about it."""

    store: DirStore
    bucket: str
    key: str
    description: Description
    preconditions: Preconditions

    def finish(self, draft: Draft, promised: Mapping[str, Any]) -> Response:
        """Verify the digests that the client promised and commit. Raises HttpError."""
        for name, found in (("crc32c", draft.data.crc32c), ("md5Hash", draft.data.md5)):
            if promised.get(name) not in {None, found}:
                raise HttpError(400, "invalid", f'Provided {name} "{promised[name]}" doesn\'t match calculated {name} "{found}".')
        record = self.store.commit(draft, self.key, self.description, self.preconditions.check)
        return wire.json_response(object_resource(self.bucket, record))


@dataclass
class _Session:
    target: Target
    promised: Mapping[str, Any]
    draft: Draft
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: Response | None = None


class Uploads:
    """All uploads of a server; a resumable one that has not ended is lost when the server stops.

    Args:
        open_bucket: returns the store of a bucket or raises HttpError.
    """

    def __init__(self, open_bucket: Callable[[str], DirStore]) -> None:
        self._open_bucket = open_bucket
        self._sessions: dict[str, _Session] = {}

    def insert(self, bucket: str, request: Request) -> Response:
        """Serve the POST that begins an upload, and for two of the three ways ends it."""
        match request.query.get("uploadType"):
            case "media":
                return self._media(bucket, request)
            case "multipart":
                return self._multipart(bucket, request)
            case "resumable":
                return self._start(bucket, request)
            case other:
                raise wire.invalid(f"Invalid uploadType: {other!r}")

    def resume(self, request: Request) -> Response:
        """Serve a PUT to an upload's own address."""
        session = self._sessions.get(request.query.get("upload_id", ""))
        if session is None:
            raise HttpError(404, "notFound", "No such upload session")
        with session.lock:
            if session.answer is None:
                session.answer = self._receive(session, request)
            if session.answer is None:
                received = session.draft.data.size_bytes
                return Response(308, {"Range": f"bytes=0-{received - 1}"} if received else {})
            return session.answer

    def close(self) -> None:
        """Forget every upload that has not ended."""
        for session in self._sessions.values():
            session.draft.close()
        self._sessions.clear()

    def _media(self, bucket: str, request: Request) -> Response:
        content_type = request.headers.get("content-type", "application/octet-stream")
        target = self._target(bucket, request, {}, content_type)
        with target.store.draft(with_md5=True) as draft:
            for block in request.body.blocks():
                draft.data.write(block)
            return target.finish(draft, wire.parse_digests(request.headers.get("x-goog-hash")))

    def _multipart(self, bucket: str, request: Request) -> Response:
        boundary = wire.parse_boundary(request.headers.get("content-type", ""))
        resource, content_type, data = wire.parse_related(request.body.read(), boundary)
        target = self._target(bucket, request, resource, content_type)
        with target.store.draft(with_md5=True) as draft:
            for start in range(0, len(data), BLOCK_BYTES):
                draft.data.write(bytes(data[start : start + BLOCK_BYTES]))
            return target.finish(draft, resource)

    def _start(self, bucket: str, request: Request) -> Response:
        resource = request.json()
        target = self._target(bucket, request, resource, request.headers.get("x-upload-content-type", ""))
        target.preconditions.check(target.store.find(target.key))
        upload_id = secrets.token_urlsafe(24)
        self._sessions[upload_id] = _Session(target, resource, target.store.draft(with_md5=True))
        host = request.headers.get("host", "")
        path = f"/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={upload_id}"
        return Response(200, {"Location": f"http://{host}{path}", "X-GUploader-UploadID": upload_id})

    def _target(self, bucket: str, request: Request, resource: Mapping[str, Any], content_type: str) -> Target:
        key = str(resource.get("name") or request.query.get("name", ""))
        try:
            check_key(key)
        except InvalidMessage as error:
            raise wire.invalid(str(error)) from error
        description = describe(resource, content_type or "application/octet-stream")
        return Target(self._open_bucket(bucket), bucket, key, description, Preconditions.parse(request.query))

    def _receive(self, session: _Session, request: Request) -> Response | None:
        """Take the bytes that are not there yet; return the final answer once all of them are."""
        draft = session.draft
        header = request.headers.get("content-range")
        place = wire.parse_content_range(header) if header else wire.ContentRange(0, None)
        if place.start is not None:
            known = draft.data.size_bytes - place.start
            if known < 0:
                return None  # a gap: the 308 tells where to go on
            for block in request.body.blocks():
                draft.data.write(block[known:])
                known = max(0, known - len(block))
        if header and (place.total is None or draft.data.size_bytes < place.total):
            return None
        with draft:
            try:
                return session.target.finish(draft, {**session.promised, **wire.parse_digests(request.headers.get("x-goog-hash"))})
            except HttpError as refusal:
                return refusal.response
