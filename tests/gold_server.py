"""An OpenAI-compatible endpoint on loopback: chat, transcription and the list of models, with faults to order."""

import base64
import email
import email.policy
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import certifi

from shared.testing.loopback import LoopbackHandler, LoopbackServer

CHAT = "/v1/chat/completions"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
MODELS = "/v1/models"
MODEL = "gold-1"


def small_trust(folder: Path) -> str:
    """Write a file for SSL_CERT_FILE with one authority in it: every new client reads all of it, though loopback needs none."""
    path = folder / "authority.pem"
    end = "-----END CERTIFICATE-----\n"
    bundle = Path(certifi.where()).read_text(encoding="utf-8")
    path.write_text(bundle[: bundle.index(end) + len(end)], encoding="utf-8")
    return str(path)


@dataclass(frozen=True)
class Asked:
    """A request for an answer; `fields` are those of the JSON body or of the form, the file apart."""

    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]
    file: bytes | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The JSON in the user's message."""
        content = self.fields["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        told: dict[str, Any] = json.loads(text)
        return told

    @property
    def hypothesis(self) -> str:
        return str(self.told["hypothesis"])

    @property
    def seed(self) -> int:
        return int(self.fields.get("seed", self.fields.get("random_seed", 0)))

    @property
    def audio(self) -> bytes | None:
        """The audio, whichever way it was sent."""
        content = self.fields["messages"][-1]["content"] if self.path == CHAT else ""
        if isinstance(content, str):
            return self.file
        part = content[1]["input_audio"]
        return base64.b64decode(part if isinstance(part, str) else part["data"])

    @property
    def audio_sha256(self) -> str:
        return hashlib.sha256(self.audio or b"").hexdigest()


@dataclass(frozen=True)
class Sent:
    """A reply; `announced` is the Content-Length, where it is to be a lie."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    announced: int | None = None


Fault = Callable[[Sent], Sent]
"""Makes of the proper reply what is sent instead."""


def status(code: int, message: str = "no", **headers: str) -> Fault:
    """Answer with an error as OpenAI words it; `retry_after` becomes the header Retry-After."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Sent(body, code, {"Content-Type": "application/json", **named})


def cut(sent: Sent) -> Sent:
    """Announce the whole reply and hang up in the middle."""
    return Sent(sent.body[: len(sent.body) // 2], announced=len(sent.body))


def content(text: str | None, finish_reason: str = "stop") -> Fault:
    """Have the model write `text`, whatever it was asked for."""

    def change(sent: Sent) -> Sent:
        reply = json.loads(sent.body)
        reply["choices"][0] |= {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
        return Sent(json.dumps(reply).encode())

    return change


def body(data: bytes, content_type: str = "application/json") -> Fault:
    """Send these bytes with status 200."""
    return lambda _: Sent(data, 200, {"Content-Type": content_type})


class GoldServer(LoopbackServer):
    """Serves until closed.

    Args:
        answer: gives the transcript for a request.
        key: what the Authorization header must hold; None = anything will do.
        models: what is served and listed; None = there is no list.
        refuses: words of a request that this endpoint does not know: `json_schema`, `seed`, `random_seed`, `max_tokens` or
            `input_audio` (as an object).
        usage: what each answer reports; None = nothing.
        on_asked: called on the request's own thread while the request is under way.

    Attributes:
        asked: requests for answers, in order of arrival.
        faults: taken from the left, one for each request for an answer; None = no fault.
        most_under_way: the most requests that were under way at once.
    """

    def __init__(
        self,
        answer: Callable[[Asked], str] = lambda _: "one two",
        *,
        key: str | None = None,
        models: tuple[str, ...] | None = (MODEL,),
        refuses: tuple[str, ...] = (),
        usage: Mapping[str, int] | None = None,
        on_asked: Callable[[Asked], object] = lambda _: None,
    ) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault | None] = deque()
        self.most_under_way = 0
        self.answer = answer
        self.key = key
        self.models = models
        self.refuses = refuses
        self.usage = usage
        self.on_asked = on_asked
        self._under_way = 0
        self._lock = threading.Lock()
        super().__init__(_Handler, "gold-server")

    @property
    def url(self) -> str:
        """The base_url of the API."""
        return f"{self.root}/v1"

    def reply(self, asked: Asked) -> Sent:
        with self._lock:
            self.asked.append(asked)
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            fault = self.faults.popleft() if self.faults else None
        try:
            self.on_asked(asked)
            return self._proper(asked, fault)
        finally:
            with self._lock:
                self._under_way -= 1  # before the reply leaves: the next request may follow it at once

    def _proper(self, asked: Asked, fault: Fault | None) -> Sent:
        refusal = self.refusal(asked.headers) or _refusal(asked, self.refuses)
        if refusal:
            return refusal
        if self.models is not None and asked.fields["model"] not in self.models:
            return status(404, f"The model `{asked.fields['model']}` does not exist.")(Sent(b""))
        text = self.answer(asked)
        if asked.path == CHAT:
            message = {"role": "assistant", "content": json.dumps({"transcript": text})}
            reply: dict[str, Any] = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        else:
            reply = {"text": text, "language": "en"}
        if self.usage is not None:
            reply["usage"] = dict(self.usage)
        sent = Sent(json.dumps(reply).encode())
        return fault(sent) if fault else sent

    def refusal(self, headers: Mapping[str, str]) -> Sent | None:
        if self.key is None or headers.get("authorization") == f"Bearer {self.key}":
            return None
        return status(401, f"Incorrect API key provided: {headers.get('authorization', '')}")(Sent(b""))


def _refusal(asked: Asked, refuses: tuple[str, ...]) -> Sent | None:
    """Refuse as OpenAI does for what its models do not know, and as Mistral does for fields that are not of its schema."""
    used = set(asked.fields) & {"seed", "random_seed", "max_tokens"}
    if asked.fields.get("response_format", {}).get("type") == "json_schema":
        used.add("json_schema")
    parts = asked.fields["messages"][-1]["content"] if asked.path == CHAT else ""
    if any(part["type"] == "input_audio" and isinstance(part["input_audio"], dict) for part in parts if isinstance(part, dict)):
        used.add("input_audio")
    refused = sorted(used & set(refuses))
    if not refused:
        return None
    words = {
        "json_schema": "'response_format' of type 'json_schema' is not supported with this model.",
        "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    }
    if refused[0] in words:
        return status(400, words[refused[0]])(Sent(b""))
    detail = [{"type": "extra_forbidden", "loc": ["body", refused[0]], "msg": "Extra inputs are not permitted"}]
    return Sent(json.dumps({"object": "error", "message": {"detail": detail}, "code": None}).encode(), 422)


class _Handler(LoopbackHandler):
    server: GoldServer

    def do_GET(self) -> None:
        models = self.server.models
        if self.path != MODELS or models is None:
            self._send(Sent(b'{"detail":"Not Found"}', 404))
            return
        rows = [{"id": name, "object": "model"} for name in models]
        self._send(self.server.refusal(self.named()) or Sent(json.dumps({"object": "list", "data": rows}).encode()))

    def do_POST(self) -> None:
        data = self.posted()
        if self.path == CHAT:
            self._send(self.server.reply(Asked(self.path, self.named(), json.loads(data))))
        elif self.path == TRANSCRIPTIONS:
            fields, file = _form(self.headers["Content-Type"], data)
            self._send(self.server.reply(Asked(self.path, self.named(), fields, file)))
        else:
            self._send(Sent(b'{"detail":"Not Found"}', 404))

    def _send(self, sent: Sent) -> None:
        try:
            self.send_response(sent.status)
            for name, value in sent.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent.body) if sent.announced is None else sent.announced))
            self.end_headers()
            self.wfile.write(sent.body)
        except OSError:
            self.close_connection = True  # the asker gave up waiting


def _form(content_type: str, data: bytes) -> tuple[dict[str, str], bytes]:
    message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + data, policy=email.policy.HTTP)
    fields, file = {}, b""
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        name = str(part.get_param("name", header="content-disposition"))
        if part.get_filename():
            fields["file"], file = str(part.get_filename()), payload
        else:
            fields[name] = payload.decode()
    return fields, file
