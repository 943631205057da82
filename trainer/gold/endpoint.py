"""The network: posts to an OpenAI-compatible endpoint with OpenAI's SDK and translates what goes wrong [io]."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import openai

from shared.gold import GoldConfig
from trainer.gold.problems import GoldUnavailable, Problem, RequestFailed, bad_answer, problem_of_connection, problem_of_status
from trainer.gold.replies import parse_models

MAX_REPLY_BYTES = 1 << 20
NO_KEY = "none"
"""Sent where no key is set: the SDK wants one, and endpoints without keys ignore it."""


def find_key(config: GoldConfig, environ: Mapping[str, str]) -> str | None:
    """Return the key; None where the variable is not set.

    Raises:
        GoldUnavailable: (key) it holds what no key can hold.
    """
    key = environ.get(config.api_key_env, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise GoldUnavailable(Problem("key", "a value with spaces or special characters in it"), config)
    return key or None


class Endpoint:
    """One endpoint; safe to use from many threads.

    Args:
        config: how to ask.
        key: as `find_key` gives it.
        monotonic: a clock in seconds.

    Raises:
        GoldUnavailable: (address) base_url is none.
    """

    def __init__(self, config: GoldConfig, key: str | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._key = key
        self._monotonic = monotonic
        try:
            self._client = openai.OpenAI(api_key=key or NO_KEY, base_url=config.base_url, max_retries=0, timeout=config.timeout_s)
        except httpx2.InvalidURL as error:
            raise GoldUnavailable(Problem("address", str(error)), config) from error
        self._requests = 0
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        """Requests for answers sent so far."""
        with self._lock:
            return self._requests

    def chat(self, fields: Mapping[str, Any]) -> bytes:
        """Post to /chat/completions and return the body of the reply.

        Raises:
            RequestFailed: there is no reply of status 2xx.
        """
        return self._post(self._client.chat.completions.with_streaming_response.create, fields)

    def transcribe(self, fields: Mapping[str, Any]) -> bytes:
        """Post to /audio/transcriptions and return the body of the reply; raises as `chat`."""
        return self._post(self._client.audio.transcriptions.with_streaming_response.create, fields)

    def models(self) -> tuple[str, ...]:
        """Return the ids that GET /models lists; raises as `chat`."""
        return parse_models(self._send(self._client.models.with_streaming_response.list, {}))

    def _post(self, send: Callable[..., AbstractContextManager[Any]], fields: Mapping[str, Any]) -> bytes:
        with self._lock:
            self._requests += 1
        return self._send(send, fields)

    def _send(self, send: Callable[..., AbstractContextManager[Any]], fields: Mapping[str, Any]) -> bytes:
        deadline = self._monotonic() + self._config.timeout_s
        try:
            with send(**fields) as response:
                return self._read(response.iter_bytes(), deadline)
        except openai.APIStatusError as error:
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            problem = problem_of_status(error.status_code, headers, error.response.text, now=datetime.now(UTC))
            raise RequestFailed(self._without_key(problem)) from error
        except (openai.APIError, httpx2.HTTPError, UnicodeError) as error:  # the last of a host that no name can have
            raise RequestFailed(problem_of_connection(error)) from error

    def _read(self, blocks: Iterator[bytes], deadline: float) -> bytes:
        """Return the whole body. The SDK's time-out is one between two bytes: a server that drips would never meet it."""
        body = bytearray()
        for block in blocks:
            body += block
            if self._monotonic() > deadline:
                raise RequestFailed(Problem("timeout", f"{len(body)} bytes of an answer that went on", maybe_billed=True))
            if len(body) > MAX_REPLY_BYTES:
                raise bad_answer(f"a reply of more than {MAX_REPLY_BYTES} bytes")
        return bytes(body)

    def _without_key(self, problem: Problem) -> Problem:
        """Return the problem with our key hidden in its words; where none was sent, a bad key is a missing one."""
        if problem.kind == "key" and self._key is None:
            return replace(problem, kind="no_key")
        return replace(problem, detail=problem.detail.replace(self._key, "***")) if self._key else problem
