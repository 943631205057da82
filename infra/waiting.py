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
    answer = poll(look, timeout_s=timeout_s, every_s=POLL_S)
    if answer is None:
        raise NoAnswer(f"no answer within {timeout_s:g} s: expected {what}")
    return answer


def poll(look: Callable[[], Answer | None], *, timeout_s: float, every_s: float) -> Answer | None:
    """Look until there is something to see, and return it; None = there was nothing within `timeout_s`."""
    retrying = Retrying(retry=retry_if_result(lambda seen: seen is None), wait=wait_fixed(every_s), stop=stop_after_delay(timeout_s))
    try:
        return retrying(look)
    except RetryError:
        return None
