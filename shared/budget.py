"""What training may cost, and what earlier attempts did cost. Pure.

The unit is an hour of the trainer's machine: a machine of several GPUs counts once, and its price is the machine's.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from shared.cycle import CycleState, Status
from shared.frozen import Frozen
from shared.training import Heartbeat, TrainingResult

HOUR_S = 3600.0


class BudgetPolicy(Frozen):
    """What all training together may cost in any `period_days`: a rolling window, so that no date makes everything start at once.

    Attributes:
        max_gpu_hours: None = no limit.
        max_usd: None = no limit; needs a price.
        usd_per_gpu_hour: what an hour of the trainer's machine costs.
        period_days: length of the window.
    """

    max_gpu_hours: Annotated[float, Field(gt=0)] | None = None
    max_usd: Annotated[float, Field(gt=0)] | None = None
    usd_per_gpu_hour: Annotated[float, Field(gt=0)] | None = None
    period_days: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> Self:
        if self.max_usd is not None and self.usd_per_gpu_hour is None:
            raise ValueError("max_usd needs usd_per_gpu_hour: without a price nobody can tell what was spent")
        return self

    @property
    def period(self) -> timedelta:
        """Length of the window."""
        return timedelta(days=self.period_days)

    def limits(self) -> Iterator[tuple[float, float, str]]:
        """Yield each limit with the price of an hour in its unit, and the unit."""
        if self.max_gpu_hours is not None:
            yield self.max_gpu_hours, 1.0, "GPU-hours"
        if self.max_usd is not None and self.usd_per_gpu_hour is not None:
            yield self.max_usd, self.usd_per_gpu_hour, "USD"


class AttemptCost(Frozen):
    """What one attempt to train cost.

    Attributes:
        ended_at: when it ended; it counts from then for one period.
        gpu_s: time of its machine.
    """

    cycle: Annotated[int, Field(ge=1)]
    ended_at: AwareDatetime
    gpu_s: Annotated[float, Field(ge=0)]


def attempt_costs(state: CycleState, result: TrainingResult | None, heartbeat: Heartbeat | None, now: datetime) -> list[AttemptCost]:
    """Return what every attempt of a cycle cost.

    The attempt that wrote the result cost what it measured itself (`run_s`). Any other cost the time from its start to its last sign of
    life, where the heartbeat is its own, else to the move that took note of its end. How long its machine stood before and after, nobody
    has measured.
    """
    costs = []
    later = [entry.at for entry in state.history[1:]] + [now]
    for entry, noted_at in zip(state.history, later, strict=True):
        if entry.status != Status.TRAINING:
            continue
        ended_at = noted_at
        gpu_s = None
        if result is not None and result.attempt == entry.attempt:
            ended_at = result.finished_at
            run_s = result.train.get("run_s")
            gpu_s = float(run_s) if isinstance(run_s, int | float) else None
        elif heartbeat is not None and heartbeat.attempt == entry.attempt and entry.at <= heartbeat.at < noted_at:
            ended_at = heartbeat.at
        measured_s = gpu_s if gpu_s is not None else (ended_at - entry.at).total_seconds()
        costs.append(AttemptCost(cycle=state.cycle, ended_at=ended_at, gpu_s=max(measured_s, 0.0)))
    return costs


def spent_hours(costs: Sequence[AttemptCost], budget: BudgetPolicy, at: datetime) -> float:
    """Return the GPU-hours of the attempts that ended within the period before `at`."""
    return sum(cost.gpu_s for cost in costs if cost.ended_at > at - budget.period) / HOUR_S


def expected_hours(costs: Sequence[AttemptCost]) -> float | None:
    """Return what the next cycle will probably take: the median of the cycles known, all attempts of each; None = none is known."""
    by_cycle: dict[int, float] = defaultdict(float)
    for cost in costs:
        by_cycle[cost.cycle] += cost.gpu_s
    return median(by_cycle.values()) / HOUR_S if by_cycle else None


def over_budget(costs: Sequence[AttemptCost], budget: BudgetPolicy, now: datetime) -> Iterator[tuple[str, datetime | None]]:
    """Yield why another cycle would exceed the budget, and when the window frees enough of it; None = waiting does not help.

    Held: spent + expected exceeds the limit. With no earlier run to tell what is expected, held once the limit is reached.
    """
    expected = expected_hours(costs)
    for limit, price, unit in budget.limits():
        spent = price * spent_hours(costs, budget, now)
        if _fits(spent, expected, limit, price):
            continue
        ends = sorted(cost.ended_at + budget.period for cost in costs)
        frees = (end for end in ends if end > now and _fits(price * spent_hours(costs, budget, end), expected, limit, price))
        opens = next(frees, None)
        takes = f", a cycle takes about {price * expected:.2f}" if expected is not None else ""
        when = f"the window frees enough on {opens.isoformat(timespec='seconds')}" if opens else "raise the limit: no waiting frees enough"
        yield f"budget of {limit:.2f} {unit} in {budget.period_days:g} days: {spent:.2f} spent{takes}; {when}", opens


def _fits(spent: float, expected: float | None, limit: float, price: float) -> bool:
    return spent < limit if expected is None else spent + price * expected <= limit
