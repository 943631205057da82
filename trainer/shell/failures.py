"""How a run ends without a result; the closed list of reasons is `shared.events.FailureReason`."""

import sys

from shared.errors import CommitUnknown, Conflict, Retryable, RetuneError
from shared.events import FailureReason

MAX_DETAIL_CHARS = 1_500


class RunFailed(RetuneError):
    """This attempt ends without a model; `reason` tells the launcher what a new attempt may mend."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: FailureReason = reason
        self.detail = detail


class RunStopped(RetuneError):
    """The cycle no longer wants this attempt (cancelled, or another one took over): go without a word."""


class RunPreempted(BaseException):
    """The machine is being taken away. Raised by a signal anywhere, so no `except Exception` of a library may catch it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out, of the host or of a GPU; whoever works without torch need not have it.

    On the CPU it is a plain RuntimeError of torch's allocator, so its text has to be looked at (c10/core/impl/alloc_cpu.cpp).
    """
    torch = sys.modules.get("torch")
    of_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    return of_gpu or isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def explain_failure(error: Exception) -> RunFailed:
    """Return the typed failure that an exception means."""
    if isinstance(error, RunFailed):
        return error
    text = f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARS]
    if is_out_of_memory(error):
        return RunFailed("out_of_memory", text)
    if isinstance(error, Retryable | CommitUnknown | Conflict):
        return RunFailed("store_unavailable", text)
    return RunFailed("internal", text)
