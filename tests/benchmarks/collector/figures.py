"""What one measurement says, medians over rounds, and the targets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Literal

Variant = Literal["a_nothing", "a_nothing_async", "b_collector", "c_per_event"]
SERVED: dict[Variant, str] = {
    "a_nothing": "threads",
    "a_nothing_async": "event loop",
    "b_collector": "event loop",
    "c_per_event": "threads",
}
"""How the framework serves each: with THREADS threads, or on one event loop, where THREADS has no say."""


@dataclass(frozen=True, order=True)
class Cell:
    """What was measured: a variant, seconds that the store takes a call, requests under way."""

    variant: Variant
    latency_ms: int
    concurrent: int


@dataclass(frozen=True)
class Figures:
    """What came out: of one round, or the medians over rounds.

    Attributes:
        events_per_s: acknowledged.
        p50_ms, p99_ms: from sending a request to its answer.
        writes_per_1000, reads_per_1000, lists_per_1000: calls of the store for 1,000 events.
        cpu_s_per_1000: processor time of the function for 1,000 events.
        memory_mib: the most that the function's processes held, shared pages counted once.
        generator_cpu: processors that the load generator took.
        store_cpu_s_per_1000: processor time of the store's server for 1,000 events.
        refused, unanswered: requests.
    """

    events_per_s: float
    p50_ms: float
    p99_ms: float
    writes_per_1000: float
    reads_per_1000: float
    lists_per_1000: float
    cpu_s_per_1000: float
    memory_mib: float
    generator_cpu: float
    store_cpu_s_per_1000: float
    refused: float
    unanswered: float


def median_of(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure; of memory and of what was refused the most."""
    values = {field.name: [getattr(figures, field.name) for figures in rounds] for field in fields(Figures)}
    most = {"memory_mib", "refused"}
    return Figures(**{name: max(found) if name in most else median(found) for name, found in values.items()})


def ratio_of(rounds: Mapping[Cell, Sequence[Figures]], over: Cell, under: Cell) -> float | None:
    """Return the median over rounds of events/s in one cell by those in another, each pair measured side by side."""
    pairs = list(zip(rounds.get(over, ()), rounds.get(under, ()), strict=False))
    return median(one.events_per_s / other.events_per_s for one, other in pairs) if pairs else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True)
class Target:
    """A wanted bound and what was found; `at_least` tells on which side of the bound it must be."""

    name: str
    bound: float
    found: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound


def targets_of(rounds: Mapping[Cell, Sequence[Figures]], concurrent: int) -> list[Target]:
    """Return the targets at a number of concurrent requests, as far as what they need was measured."""
    found: list[Target] = []
    for latency_ms in sorted({cell.latency_ms for cell in rounds}):
        ours = Cell("b_collector", latency_ms, concurrent)
        for other, bound, name in (("a_nothing", 0.75, "of_nothing"), ("c_per_event", 60.0, "times_per_event")):
            ratio = ratio_of(rounds, ours, Cell(other, latency_ms, concurrent))  # type: ignore[arg-type]  # both are variants
            if ratio is not None and (other == "a_nothing" or latency_ms):
                found.append(Target(f"{name}_{latency_ms}ms", bound, ratio, "x", at_least=True))
        if ours in rounds:
            figures = median_of(rounds[ours])
            found += [
                Target(f"writes_per_1000_{latency_ms}ms", 20.0, figures.writes_per_1000, "writes"),
                Target(f"memory_{latency_ms}ms", 256.0, figures.memory_mib, "MiB"),
                Target(f"p99_{latency_ms}ms", 500.0, figures.p99_ms, "ms"),
            ]
    return found
