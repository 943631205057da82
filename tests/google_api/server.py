"""One of Google's APIs on loopback: every request and every answer is held against Google's own description of it."""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from shared.testing.loopback import LoopbackHandler, LoopbackServer
from tests.google_api.discovery import Call, Discovery


class LostReply(Exception):
    """What was asked is done, and the answer never comes."""


@dataclass(frozen=True)
class ApiError(Exception):
    """An error, in the form that Google gives it."""

    status: int
    reason: str
    message: str
    details: tuple[dict[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.status, "message": self.message}
        if self.reason.isupper():  # the newer form
            error |= {"status": self.reason, "details": list(self.details)}
        else:
            error |= {"errors": [{"domain": "global", "reason": self.reason, "message": self.message}]}
        return {"error": error}


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: dict[str, str]
    query: dict[str, list[str]]
    body: Any

    def one(self, name: str) -> str | None:
        return self.query.get(name, [None])[0]


class Backend(Protocol):
    """Answers requests that the document allows."""

    def answer(self, request: Request) -> Any: ...


@dataclass
class Record:
    """What came, and what was wrong with it."""

    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]


class GoogleApi(LoopbackServer):
    """An API on loopback; `record.problems` must be empty at the end of a test."""

    def __init__(self, document: Discovery, backend: Backend) -> None:
        self.document = document
        self.backend = backend
        self.record = Record()
        super().__init__(_Handler, "google-api")

    def serve(self, verb: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        call = self.document.match(verb, path)
        if call is None:
            self.record.problems.append(f"{verb} {path}: no such method")
            raise ApiError(404, "notFound", f"{verb} {path}: no such method")
        request = Request(call.method, dict(call.path), query, body)
        self.record.requests.append(request)
        problems = [f"{call.method}: {problem}" for problem in self.document.problems(call, query, body)]
        if problems:
            self.record.problems.extend(problems)
            raise ApiError(400, "invalid", "; ".join(problems))
        answer = self.backend.answer(request)
        self.record.problems.extend(f"{call.method}: {problem}" for problem in self._answer_problems(call, answer))
        return answer

    def _answer_problems(self, call: Call, answer: Any) -> list[str]:
        return self.document.answer_problems(call, answer)


class _Handler(LoopbackHandler):
    server: GoogleApi

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        try:
            body = json.loads(raw) if raw else None
            status, document = 200, self.server.serve(self.command, unquote(parts.path), parse_qs(parts.query), body)
        except ApiError as error:
            status, document = error.status, error.document()
        except LostReply:
            self.close_connection = True
            return
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()
