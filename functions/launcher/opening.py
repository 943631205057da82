"""Opens a cycle and carries it to a running trainer: the exact order of calls of the protocol.

    request          head n        state n            dataset n-1, n     spec n       trainer (n, a)
      | count exactly   |              |                    |               |               |
      |--------------------- create if absent: one winner ->|               |               |
      |--- max(n+1) --->|              |                    |               |               |
      |--------------------------------------- seal, once ->|-- write once->|---- start --->|
Whoever dies in between is followed by whoever comes next: each step finds what is done and does the rest.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from functions.crossing import Declined, find_declined
from functions.launcher import decide
from functions.launcher.counting import exact_trigger
from functions.launcher.lineage import read_lineage
from functions.launcher.seal import seal
from functions.launcher.sets import write_spec
from functions.launcher.spending import read_spends
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerLauncher, TrainerRun
from functions.runtime import Ports
from functions.states import find_state, recent_states, running_cycle
from shared import keys
from shared.audio_source import AudioSource
from shared.budget import why_stop
from shared.cas import Decision, apply_with_cas, create, find_document
from shared.cycle import CODEC, CycleState, Status, move, open_cycle
from shared.documents import document_bytes
from shared.errors import InvariantBroken
from shared.events import Event, FinetuneRequested, ThresholdCrossed
from shared.head import begin_head, move_head, read_head
from shared.policy import FORCED, TriggerDecision
from shared.training import TrainingResult, completed_event

LOOK_AGAIN_AFTER = timedelta(hours=1)
"""A refusal stands no longer than this, however late its brake opens: an operator may have changed the policy."""
_OUTCOMES = {Started: "started", NoCapacity: "no capacity", Refused: "refused"}


@dataclass(frozen=True)
class LaunchDeps:
    """What opening a cycle needs beyond the ports."""

    ports: Ports
    audio: AudioSource
    trainers: TrainerLauncher


def request_cycle(deps: LaunchDeps, event: ThresholdCrossed | FinetuneRequested) -> str:
    """Open a cycle for a crossing or a person's request, or carry on the one that runs; return what came of it."""
    ports = deps.ports
    head = _settled_head(ports)
    states = recent_states(ports, head)
    before = next((state for state in states if state.cycle == head - 1), None)
    if before is not None and not before.ended:
        carry_on(deps, before.cycle)
        return _busy(ports, head, event, before)
    known = next((state for state in states if state.opened_by == event.event_id), None)
    if known is not None:
        carry_on(deps, known.cycle)
        return f"cycle {known.cycle} was opened by this event already"
    waiting = next((state for state in states if state.cycle == head), None)
    if waiting is not None:
        return _while_awaiting(deps, waiting, event)
    if isinstance(event, ThresholdCrossed) and event.cycle != head:
        return f"crossing of cycle {event.cycle}, but cycle {head} is collecting: stale"
    return _open(deps, head, states, event)


def _busy(ports: Ports, head: int, event: ThresholdCrossed | FinetuneRequested, running: CycleState) -> str:
    reason = f"cycle {running.cycle} is {running.status}: one cycle at a time"
    if isinstance(event, FinetuneRequested):
        _record_declined(ports, head, event, _held(reason, forced=True), ports.clock.now())
    return reason


def _held(why: str, *, forced: bool) -> TriggerDecision:
    return TriggerDecision(should_trigger=False, crossed=(FORCED,) if forced else (), held=(why,), metrics={})


def _settled_head(ports: Ports) -> int:
    """Return the head after moving it past a cycle that has ended."""
    head = begin_head(ports.store)
    state = find_state(ports, head)
    while state is not None and state.ended:
        head = move_head(ports.store, head)
        state = find_state(ports, head)
    return head


def _while_awaiting(deps: LaunchDeps, state: CycleState, event: ThresholdCrossed | FinetuneRequested) -> str:
    if state.status != Status.AWAITING_APPROVAL or isinstance(event, ThresholdCrossed):
        carry_on(deps, state.cycle)
        return f"cycle {state.cycle} is {state.status}"
    forced = partial(_force, event=event, now=deps.ports.clock.now())
    apply_with_cas(deps.ports.store, keys.state(state.cycle), CODEC, forced)
    carry_on(deps, state.cycle)
    return f"cycle {state.cycle} forced while it awaited approval"


def _force(state: CycleState | None, *, event: FinetuneRequested, now: datetime) -> Decision[CycleState]:
    if state is None or state.status != Status.AWAITING_APPROVAL:
        return Decision(None, reason="moved on meanwhile")
    reason = event.reason or FORCED
    moved = move(state, Status.PREPARING, at=now, by=decide.who(event), cause=event.event_id, reason=reason)
    return Decision(moved.model_copy(update={"forced": True}), reason=reason)


def cycle_to_open(ports: Ports) -> int:
    """Return the cycle that a request made now is about: the running one, else the one that it would open."""
    running = running_cycle(ports)
    if running is not None:
        return running.cycle
    head = read_head(ports.store)
    return head + 1 if find_state(ports, head) is not None else head


def _open(deps: LaunchDeps, cycle: int, states: list[CycleState], event: ThresholdCrossed | FinetuneRequested) -> str:
    ports = deps.ports
    forced = isinstance(event, FinetuneRequested)
    declined = find_declined(ports, cycle)
    now = ports.clock.now()
    if declined is not None and declined.not_before > now and not forced:
        return f"cycle {cycle} stays declined until {declined.not_before.isoformat(timespec='seconds')}"
    if ports.settings.cannot_train:  # before anything is sealed, so that nothing collected is used up
        return _decline(ports, cycle, event, _held(ports.settings.cannot_train, forced=forced))
    with ports.traces.span("count", cycle):
        trigger = exact_trigger(ports, cycle, states, forced=forced)
    if not trigger.should_trigger:
        if find_state(ports, cycle) is not None:
            return request_cycle(deps, event)  # opened meanwhile: its ledger may be sealed and swept away, and the count worth nothing
        return _decline(ports, cycle, event, trigger)
    policy = ports.settings.policy
    status = Status.PREPARING if forced or policy.auto_approve_finetuning else Status.AWAITING_APPROVAL
    reason = "; ".join((*trigger.crossed, *trigger.notes))
    state = open_cycle(cycle, status, at=now, by=decide.who(event), cause=event.event_id, reason=reason, forced=forced)
    winner = CODEC.parse(create(ports.store, keys.state(cycle), document_bytes(state)).data)
    carry_on(deps, winner.cycle)
    if winner.opened_by != event.event_id:
        return f"cycle {cycle} was opened by {winner.opened_by} meanwhile"
    return f"cycle {cycle} opened, {status}: {reason}"


def _decline(ports: Ports, cycle: int, event: Event, trigger: TriggerDecision) -> str:
    now = ports.clock.now()
    backoff = now + timedelta(seconds=ports.settings.policy.decline_backoff_s)
    until = max(backoff, min(trigger.not_before, now + LOOK_AGAIN_AFTER)) if trigger.not_before else backoff
    _record_declined(ports, cycle, event, trigger, until)
    return f"cycle {cycle} declined: {'; '.join(trigger.held)}"


def _record_declined(ports: Ports, cycle: int, event: Event, trigger: TriggerDecision, until: datetime) -> None:
    record = Declined(cycle=cycle, cause=event.event_id, at=ports.clock.now(), not_before=until, decision=trigger)
    ports.store.put(keys.declined(cycle), document_bytes(record), content_type="application/json")


def carry_on(deps: LaunchDeps, cycle: int) -> None:
    """Bring a cycle in `preparing` to a running trainer; does nothing in any other status."""
    ports = deps.ports
    state = find_state(ports, cycle)
    if state is None or state.status != Status.PREPARING:
        return
    move_head(ports.store, cycle)
    with ports.traces.span("seal", cycle):
        sealed = seal(ports, deps.audio, cycle)
    with ports.traces.span("write spec", cycle):
        write_spec(ports, deps.audio, cycle, sealed, read_lineage(ports))
    with ports.traces.span("start trainer", cycle, attributes={"attempt": state.attempt}):
        _launch(deps, state)


def _launch(deps: LaunchDeps, state: CycleState) -> None:
    """Start the trainer of the present attempt; afterwards look whether it is still wanted."""
    ports = deps.ports
    run = TrainerRun(state.cycle, state.attempt, f"{ports.store.uri}/{keys.spec(state.cycle)}", state.since)
    outcome = deps.trainers.start(run)
    ports.traces.note(outcome=_OUTCOMES[type(outcome)])
    now = ports.clock.now()
    key = keys.state(state.cycle)
    if isinstance(outcome, NoCapacity):
        apply_with_cas(ports.store, key, CODEC, lambda found: decide.decide_no_capacity(found, run.attempt, outcome.detail, now))
        return
    if isinstance(outcome, Refused):
        apply_with_cas(ports.store, key, CODEC, lambda found: decide.decide_refused(found, run.attempt, outcome.detail, now))
        return
    present = find_state(ports, state.cycle)
    if present is None:
        raise InvariantBroken(f"cycle {state.cycle}: expected its state to stay, found none")
    if not present.wants_trainer(run.attempt):
        deps.trainers.delete(run.name)


def relaunch(deps: LaunchDeps, cycle: int) -> str:
    """Bring an interrupted cycle to its next attempt: first the old trainer is gone, then the state moves.

    Once the trainer is gone it can be told whether it wrote its result at the last moment: then there is no next attempt. Nor is there
    one when the budget is spent, whoever interrupted it and why.
    """
    ports = deps.ports
    state = find_state(ports, cycle)
    if state is None or state.status != Status.INTERRUPTED:
        return f"cycle {cycle} is not interrupted"
    deps.trainers.delete(TrainerRun(cycle, state.attempt).name)
    if announce_result(ports, cycle):
        return f"cycle {cycle} has its result"
    over = why_stop(read_spends(ports, cycle))
    next_attempt = partial(decide.decide_next_attempt, policy=ports.settings.policy, now=ports.clock.now(), over_budget=over)
    decision = apply_with_cas(ports.store, keys.state(cycle), CODEC, next_attempt)
    carry_on(deps, cycle)
    return f"cycle {cycle}: {decision.reason}"


def announce_result(ports: Ports, cycle: int) -> bool:
    """Publish that a cycle's result stands, if it does: the very event of the trainer that wrote it."""
    result = find_document(ports.store, keys.result(cycle), TrainingResult)
    if result is not None:
        ports.publish_all([completed_event(result)])
    return result is not None
