"""What people ask for on the command line: the message is published, and the answer awaited as the store shows it."""

from functions.acts import people
from functions.acts.people import Act, Answer, Asker, new_event_id
from functions.runtime import Ports
from infra.waiting import wait_for
from shared.documents import Frozen

__all__ = ["Answer", "Person", "approve", "canary", "cancel", "pin", "promote", "rollback", "trigger", "withdraw"]

LOGS = "the launcher's and deployer's logs say more (locally: .retune/logs/functions.log)"


class Person(Frozen):
    """Who asks, as they claim, and why.

    Attributes:
        wait_s: how long to wait for the answer; None = not at all.
    """

    by: str
    reason: str | None = None
    wait_s: float | None = 30.0


def trigger(ports: Ports, person: Person) -> Answer:
    """Ask for a cycle now, whatever the thresholds say."""
    return _ask(ports, person, people.trigger(ports, _asker(person)))


def approve(ports: Ports, person: Person, cycle: int | None) -> Answer:
    """Let the cycle that awaits approval go on."""
    return _ask(ports, person, people.approve(ports, _asker(person), cycle))


def cancel(ports: Ports, person: Person, cycle: int | None) -> Answer:
    """Cancel the cycle that runs."""
    return _ask(ports, person, people.cancel(ports, _asker(person), cycle))


def promote(ports: Ports, person: Person, version: int, *, override: bool) -> Answer:
    """Make a version stable: on its evidence, or with `override` on a person's word and reason."""
    return _ask(ports, person, people.promote(ports, _asker(person), version, override=override))


def canary(ports: Ports, person: Person, version: int, percent: int | None) -> Answer:
    """Serve an accepted version to a share of the sessions (None = the policy's, else 10%); with 0 it only transcribes beside."""
    return _ask(ports, person, people.canary(ports, _asker(person), version, percent))


def rollback(ports: Ports, person: Person, version: int | None, to: int | None = None) -> Answer:
    """Withdraw a live version: the named one, else the canary, else the stable one; then the last good one serves, or the one in `to`."""
    return _ask(ports, person, people.rollback(ports, _asker(person), version, to))


def withdraw(ports: Ports, person: Person, version: int, *, collect: bool = False) -> Answer:
    """Mark a version as one that never comes back by itself; with `collect` its files are about to be deleted."""
    return _ask(ports, person, people.withdraw(ports, _asker(person), version, collect=collect))


def pin(ports: Ports, person: Person, version: int, *, pinned: bool) -> Answer:
    """Keep the files of a version whatever the retention says, or (`pinned` false) no longer."""
    return _ask(ports, person, people.pin(ports, _asker(person), version, pinned=pinned))


def _asker(person: Person) -> Asker:
    return Asker(by=person.by, reason=person.reason, event_id=new_event_id())


def _ask(ports: Ports, person: Person, act: Act | Answer) -> Answer:
    if isinstance(act, Answer):
        return act
    message_id = ports.publisher.publish(act.message)
    if person.wait_s is None:
        return Answer(outcome="published", text=f"published to {act.message.topic} as message {message_id}", event_id=act.event_id)
    what = f"an answer to event {act.event_id} (message {message_id} on {act.message.topic}); {LOGS}"
    return wait_for(act.find_answer, timeout_s=person.wait_s, what=what)
