"""What a form tells before its button is pressed: what will happen, what it costs, what cannot be undone, or why it cannot be done [io].

The checks are those of the command line, and so are their words.
"""

from collections.abc import Sequence
from typing import Literal

from functions.acts import people
from functions.acts.people import Act, Answer, Asker
from functions.dashboard.typed import Typed
from functions.dashboard.wording import ago, words
from functions.launcher.spending import read_attempts, read_spends
from functions.runtime import Ports
from functions.states import find_state
from shared.alias import find_production
from shared.cycle import CycleState
from shared.documents import Frozen
from shared.errors import Refused
from shared.ids import version_name
from shared.registry import Production
from shared.wording import money

Verb = Literal["approve", "cancel", "promote", "rollback"]
ABOUT_CYCLES: frozenset[Verb] = frozenset({"approve", "cancel"})
TITLES: dict[Verb, str] = {
    "approve": "Approve cycle {}",
    "cancel": "Cancel cycle {}",
    "promote": "Promote v{}",
    "rollback": "Roll v{} back",
}


class Choice(Frozen):
    """A version that a rollback can go to."""

    value: str
    label: str


class Offer(Frozen):
    """An act as its form tells it.

    Attributes:
        title: what is done to what; on the button, too.
        will: what will happen, a sentence each.
        lasting: what can be undone, and what cannot.
        refusal: why it cannot be done now; empty = it can.
        evidence: why the evidence does not carry it, so that a person must override it; empty = it does, or none is needed.
        choices: where a rollback can go, the first by default.
    """

    title: str
    will: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    refusal: str = ""
    evidence: str = ""
    choices: tuple[Choice, ...] = ()


def title_of(verb: Verb, number: int) -> str:
    """Return what is done to what."""
    return TITLES[verb].format(number)


def prepare(ports: Ports, verb: Verb, number: int, typed: Typed, asker: Asker) -> Act | Answer:
    """Return the act that a form asks for, or why it is refused, as the command line would.

    Raises:
        Refused: the cycle was not opened.
    """
    if verb == "approve":
        return people.approve(ports, asker, number)
    if verb == "cancel":
        return people.cancel(ports, asker, number)
    if verb == "promote":
        return people.promote(ports, asker, number, override=typed.override)
    return people.rollback(ports, asker, number, typed.target)


def read_offer(ports: Ports, verb: Verb, number: int) -> Offer:
    """Return what a form tells of an act now."""
    asker = Asker(by="", reason="to be told", event_id=people.new_event_id())
    try:
        found = prepare(ports, verb, number, Typed(), asker)
    except Refused as error:
        return Offer(title=title_of(verb, number), refusal=str(error))
    if isinstance(found, Answer) and verb == "promote":
        return _override(ports, number, found.text, asker)
    if isinstance(found, Answer):
        return Offer(title=title_of(verb, number), refusal=found.text)
    if verb in ABOUT_CYCLES:
        state = find_state(ports, number)
        assert state is not None
        return _approval(ports, state) if verb == "approve" else _cancellation(ports, state)
    assert found.after is not None
    before = find_production(ports.store) or Production()
    return _promotion(before, found.after, number) if verb == "promote" else _rollback(before, found.after, number)


def _approval(ports: Ports, state: CycleState) -> Offer:
    limits = [f"Of the budget: {spend.text}." for spend in read_spends(ports, state.cycle)]
    return Offer(
        title=title_of("approve", state.cycle),
        will=(
            f"Cycle {state.cycle} has waited for approval for {_since(ports, state)}: {state.reason}.",
            "Its data is sealed, a machine is started and a candidate trained; then the validator judges it.",
            *(limits or ["Machine time is spent; the policy sets no limit to it."]),
        ),
        lasting=("What the machine does stays spent. The cycle can be cancelled until it is judged.",),
    )


def _cancellation(ports: Ports, state: CycleState) -> Offer:
    costs = read_attempts(ports, state)
    usd = ports.settings.policy.budget.total_usd(costs)
    spent = "What its machines did is spent." if usd is None else f"What its machines did so far is spent: {money(usd)}."
    return Offer(
        title=title_of("cancel", state.cycle),
        will=(
            f"Cycle {state.cycle} has been {words(state.status)} for {_since(ports, state)}; it ends as cancelled, its trainer with it.",
            "Its errors go into the next cycle.",
            *([spent] if costs else []),
        ),
        lasting=("A cancelled cycle does not go on; its candidate is not judged.",),
    )


def _promotion(before: Production, after: Production, version: int, *, override: bool = False, evidence: str = "") -> Offer:
    name, now = version_name(version), _name(before.stable)
    if after.stable != version:
        reason = after.last.reason if after.last is not None else ""
        return Offer(
            title=f"End the canary of {name}",
            will=(f"Nothing is promoted: {reason}.", f"The canary of {name} ends, and {now} stays stable."),
            lasting=(f"{name} is judged inconclusive.",),
        )
    canary = f"The canary of {name} ends with it." if before.canary is not None and before.canary.version == version else ""
    will = (f"{name} becomes stable and serves every session; now it is {now}.", *([canary] if canary else []))
    kept = f"A rollback goes back to {now}, and withdraws {name}." if before.stable is not None else "No version is stable before it."
    forever = "The override and your reason stay in the audit log for ever." if override else "The move stays in the audit log."
    return Offer(title=title_of("promote", version), will=will, lasting=(kept, forever), evidence=evidence)


def _override(ports: Ports, version: int, evidence: str, asker: Asker) -> Offer:
    """Tell of a promotion that the evidence does not carry."""
    found = people.promote(ports, asker, version, override=True)
    if isinstance(found, Answer):
        return Offer(title=title_of("promote", version), refusal=found.text)
    assert found.after is not None
    return _promotion(find_production(ports.store) or Production(), found.after, version, override=True, evidence=evidence)


def _rollback(before: Production, after: Production, version: int) -> Offer:
    name, stays = version_name(version), f"{version_name(version)} is withdrawn: only an override with a reason brings it back."
    if version != before.stable:
        will = (f"The canary of {name} ends; {_name(before.stable)} stays stable and serves every session.",)
        return Offer(title=title_of("rollback", version), will=will, lasting=(stays,))
    assert after.stable is not None
    line = [item for item in before.previous if item not in before.withdrawn]
    damaged = [version_name(item) for item in line[: line.index(after.stable)]]
    ending = before.canary is not None and after.canary is None
    return Offer(
        title=title_of("rollback", version),
        will=(
            f"{name} stops serving; every session gets the version chosen below, the last good one by default.",
            *([f"Damaged, and passed over: {', '.join(damaged)}."] if damaged else []),
            *([f"The canary of {_name(after.stable)} ends: it becomes stable."] if ending else []),
        ),
        lasting=(stays,),
        choices=_choices(after.stable, after.previous),
    )


def _choices(last_good: int, older: Sequence[int]) -> tuple[Choice, ...]:
    first = Choice(value=version_name(last_good), label=f"{version_name(last_good)}, the last good one")
    return (first, *(Choice(value=version_name(item), label=version_name(item)) for item in older))


def _since(ports: Ports, state: CycleState) -> str:
    return ago(ports.clock.now() - state.since)


def _name(version: int | None) -> str:
    return "no version" if version is None else version_name(version)
