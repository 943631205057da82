"""The cycle that runs: its trainer's loss, dev WER and time left, and what its machines cost so far [io]."""

from functions.launcher.spending import read_attempts
from functions.runtime import Ports
from shared import keys
from shared.budget import gpu_hours
from shared.cas import find_document
from shared.cycle import CycleState
from shared.documents import Frozen
from shared.training import RunProgress


class RunView(Frozen):
    """The cycle that runs.

    Attributes:
        progress: of its trainer, in the present attempt; None = none was told yet.
        gpu_s: time of its machines so far.
        usd: what that cost; None = no price is known.
    """

    state: CycleState
    progress: RunProgress | None
    gpu_s: float
    usd: float | None


def read_run(ports: Ports, state: CycleState) -> RunView:
    """Read how a running cycle does; changes nothing."""
    costs = read_attempts(ports, state)
    progress = find_document(ports.store, keys.progress(state.cycle), RunProgress)
    return RunView(
        state=state,
        progress=progress if progress is not None and progress.attempt == state.attempt else None,
        gpu_s=sum(gpu_hours(cost) for cost in costs) * 3600.0,
        usd=ports.settings.policy.budget.total_usd(costs),
    )
