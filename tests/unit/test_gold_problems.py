"""What went wrong with a request, by its status or by what the operating system said, and what to do about it."""

import socket
import ssl
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, get_args

import pytest

from shared.gold import GoldConfig
from trainer.gold.problems import MAX_RETRY_AFTER_S, Problem, ProblemKind, explain, problem_of_connection, problem_of_status

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CONFIG = GoldConfig(base_url="https://api.mistral.ai/v1", model="small-1")


def with_fields(**fields: Any) -> GoldConfig:
    return GoldConfig(**CONFIG.model_dump() | fields)


@pytest.mark.parametrize(
    ("code", "body", "kind", "detail"),
    [
        (401, '{"error": {"message": "Incorrect API key"}}', "key", "HTTP 401: Incorrect API key"),
        (403, "", "key", "HTTP 403: an empty reply"),
        (402, '{"error": "Insufficient balance"}', "quota", "HTTP 402: Insufficient balance"),
        (429, '{"error": {"message": "no credit", "code": "insufficient_quota"}}', "quota", "HTTP 429: no credit"),
        (429, '{"message": "Requests rate limit exceeded"}', "rate_limit", "HTTP 429: Requests rate limit exceeded"),
        (404, '{"error": {"message": "The model `x` does not exist."}}', "model", "HTTP 404: The model `x` does not exist."),
        (
            404,
            '{"error": {"message": "model \\"x\\" not found, try pulling it first"}}',
            "model",
            'HTTP 404: model "x" not found, try pulling it first',
        ),
        (400, '{"message": "Invalid model: x", "code": "1500"}', "model", "HTTP 400: Invalid model: x"),
        (404, '{"detail": "Not Found"}', "path", "HTTP 404: Not Found"),
        (404, "404 page not found\n", "path", "HTTP 404: 404 page not found"),
        (405, "[]", "path", "HTTP 405: []"),
        (301, "", "path", "HTTP 301: an empty reply"),
        (400, '{"error": {"message": "this model does not support audio"}}', "refused", "HTTP 400: this model does not support audio"),
        (422, '{"detail": [{"loc": ["body", "seed"]}]}', "refused", 'HTTP 422: [{"loc": ["body", "seed"]}]'),
        (413, "too large", "refused", "HTTP 413: too large"),
        (500, "The model `x` does not exist", "server", "HTTP 500: The model `x` does not exist"),
        (503, "", "server", "HTTP 503: an empty reply"),
        (409, "", "server", "HTTP 409: an empty reply"),
    ],
)
def test_a_status_and_its_words_tell_the_problem(code: int, body: str, kind: str, detail: str) -> None:
    problem = problem_of_status(code, {}, body, now=NOW)
    assert (problem.kind, problem.detail, problem.status, problem.maybe_billed) == (kind, detail, code, False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Mon, 05 Jan 2026 09:01:30 GMT", 90.0), ("Mon, 05 Jan 2026 08:00:00 GMT", 0.0), ("soon", None), ("", None), ("-3", None)],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert problem_of_status(429, {"retry-after": header}, "", now=NOW).retry_after_s == seconds


def test_what_may_pass_is_tried_again_unless_the_endpoint_wants_too_long_a_pause() -> None:
    passing = {"address", "connection", "timeout", "rate_limit", "server", "bad_answer"}
    assert {kind for kind in get_args(ProblemKind) if Problem(kind, "").may_pass} == passing
    assert Problem("rate_limit", "", 429, MAX_RETRY_AFTER_S).may_pass
    assert not Problem("rate_limit", "", 429, MAX_RETRY_AFTER_S + 1).may_pass


def _raised(*chain: Exception) -> Exception:
    """Return the first error, caused by the second, and so on, as SDKs wrap them."""
    for outer, inner in pairwise(chain):
        outer.__cause__ = inner
    return chain[0]


class _ConnectError(Exception):
    """Named as httpx2 names it."""


_ConnectError.__name__ = "ConnectError"


@pytest.mark.parametrize(
    ("error", "kind", "detail", "maybe_billed"),
    [
        (_raised(RuntimeError("Connection error."), socket.gaierror(-2, "Name or service not known")), "address", "Name or service", False),
        (
            _raised(RuntimeError("Connection error."), ConnectionRefusedError(111, "Connection refused")),
            "address",
            "Connection refused",
            False,
        ),
        (_raised(RuntimeError("x"), _ConnectError("x"), OSError(113, "No route to host")), "address", "No route to host", False),
        (_raised(RuntimeError("x"), ssl.SSLCertVerificationError("certificate has expired")), "tls", "certificate has expired", False),
        (_raised(RuntimeError("x"), TimeoutError("timed out")), "timeout", "none", True),
        (_raised(RuntimeError("x"), ConnectionResetError(104, "Connection reset by peer")), "connection", "reset by peer", True),
        (RuntimeError(), "connection", "RuntimeError", True),
    ],
)
def test_the_operating_systems_word_tells_why_there_is_no_reply(error: Exception, kind: str, detail: str, maybe_billed: bool) -> None:
    problem = problem_of_connection(error)
    assert (problem.kind, problem.maybe_billed, detail in problem.detail) == (kind, maybe_billed, True)


def test_an_explanation_says_what_was_expected_what_was_found_and_what_to_do() -> None:
    bare = GoldConfig(base_url="http://localhost:11434", model="m", timeout_s=5)
    assert explain(Problem("path", "HTTP 404: Not Found."), bare) == (
        "LLM http://localhost:11434: expected an OpenAI-compatible API, found HTTP 404: Not Found. "
        "Check the path of base_url; most addresses end in /v1: try http://localhost:11434/v1."
    )
    assert explain(Problem("path", "HTTP 404: Not Found"), CONFIG).endswith("Check the path of base_url.")
    assert "RETUNE_LLM_API_KEY is not set" in explain(Problem("no_key", "HTTP 401"), bare)
    assert "takes audio" in explain(Problem("refused", "HTTP 400"), with_fields(send_audio=True))
    assert '{"text": "..."}' in explain(Problem("bad_answer", "x"), with_fields(kind="transcription"))
