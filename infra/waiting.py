"""Waits for an answer that shows in the store."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from infra.errors import NoAnswer

Answer = TypeVar("Answer")
POLL_S = 0.2


def wait_for(look: Callable[[], Answer | None], *, timeout_s: float, what: str) -> Answer:
    """Look until there is something to see, and return it.

    Args:
        look: returns None while there is nothing.
        timeout_s: how long to look.
        what: what is waited for, and where to look when it does not come.

    Raises:
        NoAnswer: there was nothing to see within `timeout_s`.
    """
    retrying = Retrying(retry=retry_if_result(lambda seen: seen is None), wait=wait_fixed(POLL_S), stop=stop_after_delay(timeout_s))
    try:
        answer = retrying(look)
    except RetryError as error:
        raise NoAnswer(f"no answer within {timeout_s:g} s: expected {what}") from error
    assert answer is not None
    return answer
