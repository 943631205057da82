"""What can go wrong with a request, which of it passes by itself, and what a person should do about the rest. Pure."""

import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

from shared.errors import RetuneError
from shared.gold import GoldConfig
from trainer.gold.question import Usage

ProblemKind = Literal[
    "address",
    "tls",
    "connection",
    "timeout",
    "key",
    "no_key",
    "path",
    "model",
    "refused",
    "rate_limit",
    "quota",
    "server",
    "bad_answer",
]

PASSING: frozenset[ProblemKind] = frozenset({"address", "connection", "timeout", "rate_limit", "server", "bad_answer"})
"""What another try may mend."""

MAX_RETRY_AFTER_S = 300.0
"""An endpoint that asks for a longer pause has not a moment's rush but a spent quota."""

MAX_DETAIL_CHARS = 4_000
"""Room for a refusal that repeats the request: the dialect to try next is read from it."""

MAX_SHOWN_CHARS = 300

_KINDS: dict[int, ProblemKind] = {
    HTTPStatus.UNAUTHORIZED: "key",
    HTTPStatus.FORBIDDEN: "key",
    HTTPStatus.PAYMENT_REQUIRED: "quota",
    HTTPStatus.REQUEST_TIMEOUT: "server",
    HTTPStatus.CONFLICT: "server",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit",
}
_NO_SUCH_PATH = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
_MODEL_CODES = frozenset({"model_not_found", "invalid_model", "1500"})
_MODEL_WORDS = re.compile(r"(invalid|unknown|no such) model|\bmodel\b.{0,200}?(not found|not exist)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """Why a request has no usable answer.

    Attributes:
        detail: what was met, in the endpoint's own words where it had some.
        status: of the HTTP reply; None where there was none.
        retry_after_s: the pause that the endpoint asked for.
        maybe_billed: the endpoint may have done the work although its answer was lost.
    """

    kind: ProblemKind
    detail: str
    status: int | None = None
    retry_after_s: float | None = None
    maybe_billed: bool = False

    @property
    def shown(self) -> str:
        """The detail, no longer than a person reads it."""
        return self.detail[:MAX_SHOWN_CHARS]

    @property
    def may_pass(self) -> bool:
        """Whether another try may have a usable answer."""
        return self.kind in PASSING and (self.retry_after_s or 0.0) <= MAX_RETRY_AFTER_S


class RequestFailed(RetuneError):
    """One request has no usable answer; `usage` is what the endpoint says that it used, if it said so."""

    def __init__(self, problem: Problem, usage: Usage | None = None) -> None:
        super().__init__(f"{problem.kind}: {problem.detail}")
        self.problem = problem
        self.usage = usage


class GoldUnavailable(RetuneError):
    """The endpoint cannot be asked: the run stops, since no transcript may stand in for gold. A person must look.

    Args:
        problem: what is wrong.
        config: how it was asked.
        before: words before the explanation of the problem, with a space at their end.
    """

    def __init__(self, problem: Problem, config: GoldConfig, before: str = "") -> None:
        super().__init__(before + explain(problem, config))
        self.problem = problem


def bad_answer(detail: str, usage: Usage | None = None) -> RequestFailed:
    """Return the failure of a reply that is not of the asked form."""
    return RequestFailed(Problem("bad_answer", detail[:MAX_DETAIL_CHARS], HTTPStatus.OK), usage)


def problem_of_status(status: int, headers: Mapping[str, str], body: str, *, now: datetime) -> Problem:
    """Return what a reply means whose status is not a success.

    Args:
        status: of the reply.
        headers: with names in lower case.
        body: as text.
        now: aware; `Retry-After` may be a date (RFC 9110, section 10.2.3).
    """
    detail, code = _message(body)
    wait_s = _retry_after_s(headers.get("retry-after", ""), now)
    return Problem(_kind_of_status(status, code, body), f"HTTP {status}: {detail}"[:MAX_DETAIL_CHARS], status, wait_s)


def _kind_of_status(status: int, code: str, body: str) -> ProblemKind:
    if code == "insufficient_quota":
        return "quota"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server"
    if status in _KINDS:
        return _KINDS[status]
    if code in _MODEL_CODES or _MODEL_WORDS.search(body):
        return "model"
    return "path" if status in _NO_SUCH_PATH or status < HTTPStatus.BAD_REQUEST else "refused"


def _message(body: str) -> tuple[str, str]:
    """Return the message and the code of an error body; OpenAI nests them, Mistral and FastAPI do not."""
    try:
        content = json.loads(body)
    except ValueError:
        return " ".join(body.split()) or "an empty reply", ""
    inner = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(inner, dict):
        return str(inner), ""
    message = inner.get("message") or inner.get("detail") or inner
    return message if isinstance(message, str) else json.dumps(message), str(inner.get("code") or "")


def _retry_after_s(value: str, now: datetime) -> float | None:
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def problem_of_connection(error: BaseException) -> Problem:
    """Return what an exception means that kept a reply from arriving, by what the operating system said at the end of its chain."""
    chain = list(_causes(error))
    names = {cls.__name__ for each in chain for cls in type(each).__mro__}
    detail = (str(chain[-1]) or type(chain[-1]).__name__)[:MAX_DETAIL_CHARS]
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return Problem("tls", detail)
    if any(isinstance(each, socket.gaierror | ConnectionRefusedError | UnicodeError) for each in chain):
        return Problem("address", detail)
    if "TimeoutException" in names or "TimeoutError" in names:
        return Problem("timeout", "none", maybe_billed="ConnectTimeout" not in names)
    if "ConnectError" in names or "UnsupportedProtocol" in names or "TooManyRedirects" in names:
        return Problem("address", detail)
    return Problem("connection", detail, maybe_billed=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


def explain(problem: Problem, config: GoldConfig) -> str:
    """Return a problem as a person reads it: what is wrong and what to do next."""
    expected, advice = _advice(config)[problem.kind]
    return f"LLM {config.base_url}: expected {expected}, found {problem.shown.rstrip('.')}. {advice}"


def _advice(config: GoldConfig) -> dict[ProblemKind, tuple[str, str]]:
    sent = "audio" if config.hears else "a request of this kind"
    answer, ability = (
        ('{"transcript": "..."}', "keeps to a JSON schema, or raise max_answer_tokens")
        if config.kind == "chat"
        else ('{"text": "..."}', "transcribes")
    )
    slashless = "" if config.base_url.endswith("/v1") else f"; most addresses end in /v1: try {config.base_url}/v1"
    return {
        "address": ("a server that answers", "Check host and port of base_url, and that the server runs and can be reached from here."),
        "tls": ("a TLS certificate to trust", "Use http:// if the server speaks plain HTTP; else name its CA in SSL_CERT_FILE."),
        "connection": ("a whole reply", "The connection broke off: look at the server's log and at any proxy between."),
        "timeout": (f"an answer within {config.timeout_s:g} s", "Raise timeout_s, lower concurrency, or take a smaller model."),
        "key": ("a key that it accepts", f"Check the key in {config.api_key_env}: is it whole, in force, and of this endpoint?"),
        "no_key": ("a key", f"The variable {config.api_key_env} is not set: put the endpoint's key into it."),
        "path": ("an OpenAI-compatible API", f"Check the path of base_url{slashless}."),
        "model": (f"a model {config.model!r}", "Check the model's id and that the key may use it."),
        "refused": ("a request that it accepts", f"Check that model {config.model!r} takes {sent}, and the settings of gold."),
        "rate_limit": ("room for a request", "Lower concurrency, or wait until the endpoint's limit is lifted."),
        "quota": ("credit", "Add credit to the endpoint's account, or use another one."),
        "server": ("an answer", "The server is in trouble: look at its log or its status page, and run again."),
        "bad_answer": (answer, f"Take a model that {ability}."),
    }
