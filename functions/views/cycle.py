"""What became of a cycle, from the records: why it was opened, on which data, what it cost, why it ended so, who moved its model [io]."""

from collections.abc import Iterable

from functions.crossing import Declined, find_declined
from functions.launcher.spending import read_attempts
from functions.launcher.window import find_dataset
from functions.runtime import Ports
from functions.states import find_state
from functions.views.dataset import DatasetView, view
from shared import keys
from shared.budget import AttemptCost
from shared.cas import find_document
from shared.cycle import CycleState
from shared.dataset import Row
from shared.documents import Frozen
from shared.errors import NotFound
from shared.registry import Move
from shared.training import TrainingResult
from shared.verdict import SetNumbers, ValidationReport, find_report
from shared.wording import interval_in_points, percent


class CycleStory(Frozen):
    """All that is on record about one cycle.

    Attributes:
        state: every move of the cycle, and who made it because of what; the first says why it was opened.
        declined: the last refusal to open it, from the time before.
        dataset: what it trained and was judged on; None = not sealed.
        attempts: what each attempt to train cost.
        verdict: the validator's report; None = it was not judged.
        moves: what the production alias did with its version, from the audit log.
    """

    state: CycleState
    declined: Declined | None
    dataset: DatasetView | None
    attempts: tuple[AttemptCost, ...]
    verdict: ValidationReport | None
    moves: tuple[Move, ...]


def read_cycle(ports: Ports, cycle: int, moves: Iterable[Move]) -> CycleStory:
    """Read the records of one cycle.

    Raises:
        NotFound: no such cycle was opened.
    """
    state = find_state(ports, cycle)
    if state is None:
        raise NotFound(f"cycle {cycle}: expected one that was opened, found no state: `retune explain` tells about the one that collects")
    sealed = find_dataset(ports, cycle)
    return CycleStory(
        state=state,
        declined=find_declined(ports, cycle),
        dataset=None if sealed is None else _dataset(ports, cycle, sealed.rows),
        attempts=read_attempts(ports, state),
        verdict=find_report(ports.store, cycle),
        moves=tuple(move for move in moves if move.version == cycle),
    )


def _dataset(ports: Ports, cycle: int, rows: Iterable[Row]) -> DatasetView:
    result = find_document(ports.store, keys.result(cycle), TrainingResult)
    return view("on which data", rows, result.set_aside if result is not None else ())


def set_text(each: SetNumbers) -> str:
    """Return what both models did on a set, in one sentence."""
    base, candidate = (None if system.wer is None else system.wer.estimate for system in (each.base, each.candidate))
    change = "" if each.delta is None else f", {interval_in_points(each.delta)}"
    return (
        f"{each.name}: WER {percent(base)} -> {percent(candidate)}{change}; {each.utterances} utterances, {each.clusters} speakers or calls"
    )
