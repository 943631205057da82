"""What one of Google's APIs said instead of what was asked for, and calls that are made again [io]."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import Retryable

LONGEST_TEXT = 240
TRIES = 3
_RATE_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """What an API said of one call or operation.

    Attributes:
        code: of the operation's error or the reason of the HTTP error, as ZONE_RESOURCE_POOL_EXHAUSTED or quotaExceeded.
        status: of HTTP; 0 = nobody answered.
        metric, limit: of a quota, where it says so.
    """

    code: str
    message: str
    status: int = 0
    metric: str = ""
    limit: float | None = None

    @property
    def transient(self) -> bool:
        """The same call may be made again at once."""
        return self.status in {0, 408, 429} or self.status >= 500 or self.code in _RATE_LIMITS

    def __str__(self) -> str:
        return f"{self.code}: {self.message[:LONGEST_TEXT]}"


class CallFailed(Retryable):
    """An API did not do what was asked; whoever does not know what that means lets the message be delivered again."""

    def __init__(self, what: str, problem: Problem) -> None:
        super().__init__(f"{what}: {problem}")
        self.problem = problem


def with_retries(call: Callable[[], T], wait: Callable[[float], None]) -> T:
    """Make a call that may safely be made twice, again while its failure may pass.

    Args:
        call: raises CallFailed.
        wait: waits so many seconds.

    Raises:
        CallFailed: the last failure.
    """
    for number in range(1, TRIES):
        try:
            return call()
        except CallFailed as failure:
            if not failure.problem.transient:
                raise
            wait(float(number))
    return call()
