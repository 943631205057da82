"""What a running cycle has spent of the budget, and when that is too much. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from shared.budget import AttemptCost, BudgetPolicy, spent, words
from shared.documents import Frozen

NEARLY = 0.8
"""From this share of a limit on whoever watches the log is told: there is time to raise it before the run is stopped."""


class Spend(Frozen):
    """What has been spent of one limit.

    Attributes:
        limit: the most that may be spent in a period, in GPU-hours or USD.
        field: of the policy's budget that sets it.
        spent: by all attempts of the period, the running one included, in the same unit.
        by_cycle: the running cycle's part of it.
        text: the same in words.
    """

    limit: float
    field: Literal["max_gpu_hours", "max_usd"]
    spent: float
    by_cycle: float
    text: str

    @property
    def share(self) -> float:
        """Part of the limit that is spent."""
        return self.spent / self.limit


def spends(costs: Sequence[AttemptCost], budget: BudgetPolicy, cycle: int, now: datetime) -> tuple[Spend, ...]:
    """Return what has been spent of each limit that is set.

    Args:
        costs: of all attempts of the period, those of `cycle` until now included.
        budget: the limits.
        cycle: the cycle that runs.
        now: the present time.
    """
    return tuple(_spends(costs, budget, cycle, now))


def _spends(costs: Sequence[AttemptCost], budget: BudgetPolicy, cycle: int, now: datetime) -> Iterable[Spend]:
    own = [cost for cost in costs if cost.cycle == cycle]
    for limit in budget.limits():
        gone, by_cycle = spent(costs, limit.of, budget.period, now), spent(own, limit.of, budget.period, now)
        text = f"{words(limit, budget)}: {gone:.2f} spent, {by_cycle:.2f} of it by this cycle"
        yield Spend(limit=limit.amount, field=limit.field, spent=gone, by_cycle=by_cycle, text=text)


def why_stop(found: Iterable[Spend]) -> str:
    """Return why a run must stop, and what a person can do then; empty = it may go on. A limit that is just reached is not passed."""
    passed = [spend for spend in found if spend.spent > spend.limit]
    if not passed:
        return ""
    fields = " and ".join(f"policy.budget.{spend.field}" for spend in passed)
    texts = "; ".join(spend.text for spend in passed)
    return f"{texts}. Its errors wait for the next cycle: raise {fields}, or wait until the window frees enough (`retune explain`)"


def why_warn(found: Iterable[Spend]) -> str:
    """Return which limits are nearly reached; empty = none."""
    near = [spend for spend in found if spend.share >= NEARLY]
    return "; ".join(f"{spend.share:.0%} of the {spend.text}" for spend in near)
