"""Starts the trainer of a cycle by hand, by the launcher's own code, and follows it by its heartbeat."""

from collections.abc import Callable

from functions.launcher.decide import decide_retry_capacity
from functions.launcher.opening import LaunchDeps, carry_on, relaunch
from functions.launcher.trainers import TrainerRun
from functions.runtime import Ports
from functions.states import find_state
from infra.errors import NoAnswer, Refused
from infra.waiting import poll
from shared import keys
from shared.cas import apply_with_cas, find
from shared.cycle import CODEC, CycleState, Status
from shared.documents import Frozen, parse_document
from shared.training import Heartbeat

S = Status
STARTABLE = frozenset({S.PREPARING, S.WAITING_FOR_CAPACITY, S.INTERRUPTED})
UNDER_WAY = frozenset({S.PREPARING, S.WAITING_FOR_CAPACITY, S.INTERRUPTED, S.TRAINING})
CAME_TO_NOTHING = frozenset({S.FAILED, S.CANCELLED, S.WAITING_FOR_CAPACITY, S.INTERRUPTED})
POLL_S = 5.0

_INSTEAD = {
    S.AWAITING_APPROVAL: "run `retune approve {cycle}`, which starts it",
    S.TRAINING: "a second trainer would spoil its work; run `retune status`, or `retune cancel {cycle}`",
    S.VALIDATING: "it is trained; the validator judges it",
}


class TrainAnswer(Frozen):
    """What came of starting a trainer.

    Attributes:
        trainer: name of the machine or process.
        status, reason: of the cycle afterwards.
    """

    cycle: int
    attempt: int
    trainer: str
    status: Status
    reason: str
    text: str

    @property
    def refused(self) -> bool:
        """The cycle does not train."""
        return self.status in CAME_TO_NOTHING


def why_not(state: CycleState | None, cycle: int, named: str, configured: str) -> str | None:
    """Return why no trainer must be started now; None = one may. Pure.

    Args:
        state: of the cycle.
        cycle: its number.
        named: the launcher that a person names.
        configured: the one that functions and sweeper use.
    """
    if named != configured:
        return (
            f"launcher {named}: expected {configured}, the one in RETUNE_LAUNCHER; the sweeper sees only that one's trainers, "
            f"and would start a second one beside this; change RETUNE_LAUNCHER everywhere, or name {configured}"
        )
    if state is None:
        return f"cycle {cycle}: expected one that was opened, found none; run `retune trigger` to open one"
    if state.status in STARTABLE:
        return None
    instead = _INSTEAD.get(state.status, "nothing is left to train; `retune trigger` opens the next cycle").format(cycle=cycle)
    return f"cycle {cycle}: expected it to be one of {', '.join(sorted(STARTABLE))}, found {state.status}: {instead}"


def train(deps: LaunchDeps, cycle: int, launcher: str) -> TrainAnswer:
    """Bring a cycle that stands before its training to a running trainer.

    An attempt whose trainer is there already gets no second one: names follow from cycle and attempt.

    Raises:
        Refused: see `why_not`.
    """
    ports = deps.ports
    state = find_state(ports, cycle)
    refusal = why_not(state, cycle, launcher, ports.settings.launcher)
    if refusal is not None or state is None:
        raise Refused(refusal or "")
    before = set(deps.trainers.list_names())
    now = ports.clock.now()
    said = relaunch(deps, cycle) if state.status == S.INTERRUPTED else ""
    if state.status == S.WAITING_FOR_CAPACITY:
        apply_with_cas(ports.store, keys.state(cycle), CODEC, lambda found: decide_retry_capacity(found, now))
    if state.status != S.INTERRUPTED:
        carry_on(deps, cycle)
    after = find_state(ports, cycle) or state
    if after.status == S.INTERRUPTED:
        raise Refused(f"{said}: it needs no trainer, and the validator has been told of it; see `retune status`")
    return _answer(after, before)


def _answer(state: CycleState, before: set[str]) -> TrainAnswer:
    name = TrainerRun(state.cycle, state.attempt).name
    verb = "was there already" if name in before else "is started"
    text = f"cycle {state.cycle} is {state.status}, attempt {state.attempt}: {state.reason}"
    if state.status in {S.PREPARING, S.TRAINING}:
        text = f"cycle {state.cycle}, attempt {state.attempt}: trainer {name} {verb}"
    return TrainAnswer(cycle=state.cycle, attempt=state.attempt, trainer=name, status=state.status, reason=state.reason, text=text)


def follow(ports: Ports, cycle: int, tell: Callable[[str], None], *, timeout_s: float) -> TrainAnswer:
    """Tell of every phase of a cycle's training until it is over.

    Args:
        ports: the outside world.
        cycle: that trains.
        tell: takes one line of progress at a time.
        timeout_s: how long to follow.

    Raises:
        NoAnswer: it is not over by then; it goes on.
    """
    told: list[str] = []

    def look() -> CycleState | None:
        state = find_state(ports, cycle)
        if state is None:
            raise Refused(f"cycle {cycle}: expected its state to stay, found none")
        line = progress(state, _heartbeat(ports, cycle))
        if told[-1:] != [line]:
            told.append(line)
            tell(line)
        return None if state.status in UNDER_WAY else state

    state = poll(look, timeout_s=timeout_s, every_s=POLL_S)
    if state is None:
        raise NoAnswer(f"cycle {cycle} is not trained within {timeout_s:g} s ({told[-1]}); it goes on: see `retune status`")
    return _answer(state, set())


def progress(state: CycleState, beat: Heartbeat | None) -> str:
    """Return where a training stands, in one line. Pure."""
    if state.status != S.TRAINING or beat is None or beat.attempt != state.attempt:
        return f"cycle {state.cycle}, attempt {state.attempt}: {state.status}"
    done = f" {beat.done} of {beat.total}" if beat.total else ""
    return f"cycle {state.cycle}, attempt {state.attempt}: {beat.phase}{done}"


def _heartbeat(ports: Ports, cycle: int) -> Heartbeat | None:
    found = find(ports.store, keys.heartbeat(cycle))
    return parse_document(Heartbeat, found.data, what=found.info.key) if found else None
