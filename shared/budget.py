"""What training may cost, what earlier attempts did cost, and when a running cycle has cost too much. Pure.

The unit is an hour of the trainer's machine: a machine of several GPUs counts once, and its price is the machine's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from shared.cycle import CycleState, Status
from shared.documents import Frozen
from shared.machine import Machine, Provisioning
from shared.training import Heartbeat, TrainingResult

HOUR_S = 3600.0
NEARLY = 0.8
"""From this share of a limit on whoever watches the log is told: there is time to raise it before the run is stopped."""
Usd = Annotated[float, Field(gt=0)]


class AttemptCost(Frozen):
    """What one attempt to train cost.

    Attributes:
        ended_at: when it ended; it counts from then for one period.
        gpu_s: time of its machine.
        machine: that it ran on; None = unknown.
    """

    cycle: Annotated[int, Field(ge=1)]
    ended_at: AwareDatetime
    gpu_s: Annotated[float, Field(ge=0)]
    machine: Machine | None = None


@dataclass(frozen=True)
class Limit:
    """One limit of a budget.

    Attributes:
        amount: the most that may be spent in a period.
        field: of the policy's budget that sets it.
        of: what an attempt cost in this unit.
    """

    amount: float
    unit: Literal["GPU-hours", "USD"]
    field: Literal["max_gpu_hours", "max_usd"]
    of: Callable[[AttemptCost], float]


class BudgetPolicy(Frozen):
    """What all training together may cost in any `period_days`: a rolling window, so that no date makes everything start at once.

    Attributes:
        max_gpu_hours: None = no limit.
        max_usd: None = no limit; needs a price.
        usd_per_gpu_hour: what an hour of a machine costs that is not in the table, or that nobody knows; None = as much as the dearest
            of the table.
        prices: machine type -> provisioning -> what an hour of such a machine costs, in USD.
        period_days: length of the window.
    """

    max_gpu_hours: Annotated[float, Field(gt=0)] | None = None
    max_usd: Usd | None = None
    usd_per_gpu_hour: Usd | None = None
    prices: dict[str, Annotated[dict[Provisioning, Usd], Field(min_length=1)]] = {}
    period_days: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> Self:
        if self.max_usd is not None and self.usd_per_hour(None) is None:
            raise ValueError("max_usd needs usd_per_gpu_hour or prices: without a price nobody can tell what was spent")
        return self

    @property
    def period(self) -> timedelta:
        """Length of the window."""
        return timedelta(days=self.period_days)

    def usd_per_hour(self, machine: Machine | None) -> float | None:
        """Return what an hour of a machine costs; None = no price is known at all."""
        listed = self.prices.get(machine.machine_type, {}).get(machine.provisioning) if machine is not None else None
        if listed is not None:
            return listed
        if self.usd_per_gpu_hour is not None:
            return self.usd_per_gpu_hour
        return max((usd for prices in self.prices.values() for usd in prices.values()), default=None)

    def usd(self, cost: AttemptCost) -> float:
        """Return what an attempt cost in USD; 0 where no price is known."""
        return gpu_hours(cost) * (self.usd_per_hour(cost.machine) or 0.0)

    def total_usd(self, costs: Sequence[AttemptCost]) -> float | None:
        """Return what attempts cost in USD; None = of one of them, or where there is none yet of any machine, no price is known."""
        machines = [cost.machine for cost in costs] or [None]
        return None if any(self.usd_per_hour(machine) is None for machine in machines) else sum(map(self.usd, costs))

    def limits(self) -> Iterator[Limit]:
        """Yield each limit that is set."""
        if self.max_gpu_hours is not None:
            yield Limit(self.max_gpu_hours, "GPU-hours", "max_gpu_hours", gpu_hours)
        if self.max_usd is not None:
            yield Limit(self.max_usd, "USD", "max_usd", self.usd)


def gpu_hours(cost: AttemptCost) -> float:
    """Return what an attempt cost in hours of its machine."""
    return cost.gpu_s / HOUR_S


def attempt_costs(state: CycleState, result: TrainingResult | None, heartbeat: Heartbeat | None, now: datetime) -> list[AttemptCost]:
    """Return what every attempt of a cycle cost.

    The attempt that wrote the result cost what it measured itself (`run_s`). Any other cost the time from its start to its last sign of
    life, where the heartbeat is its own, else to the move that took note of its end, or to `now` while it trains. How long its machine
    stood before and after, nobody has measured.
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
        costs.append(AttemptCost(cycle=state.cycle, ended_at=ended_at, gpu_s=max(measured_s, 0.0), machine=entry.machine))
    return costs


def spent(costs: Sequence[AttemptCost], of: Callable[[AttemptCost], float], period: timedelta, at: datetime) -> float:
    """Return what the attempts cost that ended within the period before `at`, in the unit of `of`."""
    return sum(of(cost) for cost in costs if cost.ended_at > at - period)


def expected(costs: Sequence[AttemptCost], of: Callable[[AttemptCost], float]) -> float | None:
    """Return what the next cycle will probably cost: the median of the cycles known, all attempts of each; None = none is known."""
    by_cycle: dict[int, float] = defaultdict(float)
    for cost in costs:
        by_cycle[cost.cycle] += of(cost)
    return median(by_cycle.values()) if by_cycle else None


def over_budget(costs: Sequence[AttemptCost], budget: BudgetPolicy, now: datetime) -> Iterator[tuple[str, datetime | None]]:
    """Yield why another cycle would exceed the budget, and when the window frees enough of it; None = waiting does not help.

    Held: spent + expected exceeds the limit. With no earlier run to tell what is expected, held once the limit is reached.
    """
    for limit in budget.limits():
        gone, takes = spent(costs, limit.of, budget.period, now), expected(costs, limit.of)
        if _fits(gone, takes, limit):
            continue
        ends = sorted(cost.ended_at + budget.period for cost in costs)
        opens = next((end for end in ends if end > now and _fits(spent(costs, limit.of, budget.period, end), takes, limit)), None)
        cycle = f", a cycle takes about {takes:.2f}" if takes is not None else ""
        when = f"the window frees enough on {opens.isoformat(timespec='seconds')}" if opens else "raise the limit: no waiting frees enough"
        yield f"{words(limit, budget)}: {gone:.2f} spent{cycle}; {when}", opens


def words(limit: Limit, budget: BudgetPolicy) -> str:
    """Return a limit in words."""
    return f"budget of {limit.amount:.2f} {limit.unit} in {budget.period_days:g} days"


def _fits(gone: float, takes: float | None, limit: Limit) -> bool:
    return gone < limit.amount if takes is None else gone + takes <= limit.amount


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
    own = [cost for cost in costs if cost.cycle == cycle]
    found = []
    for limit in budget.limits():
        gone, by_cycle = spent(costs, limit.of, budget.period, now), spent(own, limit.of, budget.period, now)
        text = f"{words(limit, budget)}: {gone:.2f} spent, {by_cycle:.2f} of it by this cycle"
        found.append(Spend(limit=limit.amount, field=limit.field, spent=gone, by_cycle=by_cycle, text=text))
    return tuple(found)


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
