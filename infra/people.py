"""How a command asks for what people may ask for: the message is published, and the answer awaited as the store shows it."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from functions.acts.people import Act, Answer, Asker, new_event_id
from functions.runtime import Ports
from infra.waiting import wait_for
from shared.documents import Frozen

__all__ = ["TIMEOUT_S", "Answer", "Person", "ask"]

Said = ParamSpec("Said")
TIMEOUT_S = 30.0
LOGS = "the launcher's and deployer's logs say more (locally: .retune/logs/functions.log)"


class Person(Frozen):
    """Who asks, as they claim, and why.

    Attributes:
        wait_s: how long to wait for the answer; None = not at all.
    """

    by: str
    reason: str | None = None
    wait_s: float | None = TIMEOUT_S


def ask(
    ports: Ports, person: Person, act: Callable[Concatenate[Ports, Asker, Said], Act | Answer], *args: Said.args, **kwargs: Said.kwargs
) -> Answer:
    """Ask for an act; a refusal that can be seen before is the answer, and nothing is published.

    Args:
        ports: the outside world.
        person: who asks, and how long they wait.
        act: one of `functions.acts.people`.
        *args: what it is told beside, such as a version.
        **kwargs: likewise, by name.

    Raises:
        Refused: what is named is not there.
        NoAnswer: none came in time; what was asked for may still happen.
    """
    found = act(ports, Asker(by=person.by, reason=person.reason, event_id=new_event_id()), *args, **kwargs)
    if isinstance(found, Answer):
        return found
    message_id = ports.publisher.publish(found.message)
    if person.wait_s is None:
        return Answer(outcome="published", text=f"published to {found.message.topic} as message {message_id}", event_id=found.event_id)
    what = f"an answer to event {found.event_id} (message {message_id} on {found.message.topic}); {LOGS}"
    return wait_for(found.find_answer, timeout_s=person.wait_s, what=what)
