"""What came of a simulation: read from the simulated bucket by the product's own code."""

import re
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from functions.launcher.spending import read_costs
from functions.states import find_state
from infra.simulate.assumptions import Stated
from infra.simulate.world import World
from shared import keys
from shared.cas import find
from shared.cycle import CycleState, Status
from shared.documents import Frozen, parse_document
from shared.head import FIRST_CYCLE, read_head
from shared.training import TrainingSpec

HOUR_S = 3600.0
_NUMBER = re.compile(r"\d[\d.,:T+%-]*")


class Held(Frozen):
    """A brake that held a cycle, in the words of its last refusal.

    Attributes:
        since_h, until_h: hours since the start: of the first and the last refusal for this reason.
    """

    reason: str
    since_h: float
    until_h: float


class CycleOutcome(Frozen):
    """What became of one cycle.

    Attributes:
        opened_h, ended_h: hours since the start; None = not yet.
        triggered_by: every threshold that was reached, and advice.
        held: what held it before it opened.
        status, reason: where it stands at the end of the simulation, and why.
        attempts: to train; a preempted one is followed by another.
        clips: with references, that it trained on.
        holdout: utterances that judged it.
        gpu_hours: of all attempts, by the product's own accounting.
        wer_before, wer_after: modelled, on all traffic: of its base and of its candidate.
    """

    cycle: int
    opened_h: float
    ended_h: float | None
    triggered_by: str
    held: tuple[Held, ...]
    status: Status
    reason: str
    attempts: int
    clips: int | None
    holdout: int | None
    gpu_hours: float
    wer_before: float | None
    wer_after: float | None


class Outcome(Frozen):
    """What one policy came to.

    Attributes:
        name: of the policy.
        collecting: what holds the cycle that collects at the end.
        usd: None where no price is known.
        first_better_h: hours until a model served everybody whose modelled WER is lower; None = none did.
        wer_start, wer_end, wer_mean: modelled WER on traffic, of what served.
        errors, samples: that were reported.
        refused: reports that the collector refused.
        rolled_back: moves back that the guard, the canary or a person made.
    """

    name: str
    cycles: tuple[CycleOutcome, ...]
    collecting: tuple[Held, ...]
    gpu_hours: float
    usd: float | None
    first_better_h: float | None
    wer_start: float
    wer_end: float
    wer_mean: float
    errors: int
    samples: int
    refused: int = 0
    rolled_back: int = 0

    def count(self, *statuses: Status) -> int:
        """Return how many cycles stand in one of some statuses."""
        return sum(cycle.status in statuses for cycle in self.cycles)


class Simulation(Frozen):
    """Policies side by side, and what was taken for granted.

    Attributes:
        source: of the traffic, in words.
        assumptions: every number that no policy says.
        always: what the model leaves out.
    """

    source: str
    days: float
    seed: int
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    assumptions: tuple[Stated, ...]
    always: tuple[str, ...]


def kind_of(reason: str) -> str:
    """Return a refusal without its numbers: what changes from one look to the next is one reason."""
    return _NUMBER.sub("N", reason)


class HeldLog:
    """Remembers what held each cycle, look after look."""

    def __init__(self) -> None:
        self._spans: dict[int, dict[str, Held]] = {}

    def note(self, cycle: int, reasons: Sequence[str], at_h: float) -> None:
        """Remember a refusal."""
        spans = self._spans.setdefault(cycle, {})
        for reason in reasons:
            present = spans.get(kind_of(reason))
            spans[kind_of(reason)] = Held(reason=reason, since_h=present.since_h if present else at_h, until_h=at_h)

    def of(self, cycle: int) -> tuple[Held, ...]:
        """Return what held a cycle, the first first."""
        return tuple(sorted(self._spans.get(cycle, {}).values(), key=lambda held: held.since_h))


def cycle_outcomes(world: World, held: HeldLog, start: datetime, wer: float) -> tuple[CycleOutcome, ...]:
    """Return what became of every cycle that was opened."""
    head = read_head(world.store)
    hours = _hours_by_cycle(world, head)
    states = (find_state(world.ports, number) for number in range(FIRST_CYCLE, head + 1))
    return tuple(_outcome(world, state, held, start, wer, hours) for state in states if state is not None)


def _hours_by_cycle(world: World, head: int) -> dict[int, float]:
    hours: dict[int, float] = {}
    for number in range(FIRST_CYCLE, head + 1):
        # costs reach back over the budget's period and ten cycles at least: the newest of them is the one that is asked for
        costs = [cost for cost in read_costs(world.ports, number + 1) if cost.cycle == number]
        hours[number] = sum(cost.gpu_s for cost in costs) / HOUR_S
    return hours


def _outcome(world: World, state: CycleState, held: HeldLog, start: datetime, wer: float, hours: dict[int, float]) -> CycleOutcome:
    spec_found = find(world.store, keys.spec(state.cycle))
    spec = parse_document(TrainingSpec, spec_found.data, what=spec_found.info.key) if spec_found else None
    model = world.trainers.modelled(state.cycle)
    holdout = next((each.clips for each in spec.sets if each.name == keys.HOLDOUT_SET), None) if spec else None
    ended = state.since if state.ended else None
    return CycleOutcome(
        cycle=state.cycle,
        opened_h=_hours(state.history[0].at, start),
        ended_h=None if ended is None else _hours(ended, start),
        triggered_by=state.history[0].reason,
        held=held.of(state.cycle),
        status=state.status,
        reason=state.reason,
        attempts=state.attempt,
        clips=world.trainers.trained.get(state.cycle),
        holdout=holdout,
        gpu_hours=hours.get(state.cycle, 0.0),
        wer_before=wer * world.trainers.speech.model(spec.base.version).level if spec else None,
        wer_after=wer * model.level if model else None,
    )


def _hours(at: datetime, start: datetime) -> float:
    return round((at - start).total_seconds() / HOUR_S, 2)
