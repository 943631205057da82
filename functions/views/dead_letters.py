"""Dead letters as numbers: how many wait for a person, and for how long, without taking one of them into the hand [io]."""

from datetime import datetime

from functions.wiring import dead_letter_topic, subscriptions
from shared.backlog import Backlog, Backlogs, NotTold
from shared.documents import Frozen
from shared.wording import lasting


class DeadLetters(Frozen):
    """What functions have refused too often.

    Attributes:
        waiting: the dead-letter subscriptions in which something waits, most first.
        told: of how many subscriptions something is known; of others nobody has said anything in the last minutes.
        asked: about how many it was asked.
        problem: why nothing is known, and what to do; empty = it is.
    """

    waiting: tuple[Backlog, ...] = ()
    told: int = 0
    asked: int = 0
    problem: str = ""

    @property
    def text(self) -> str:
        """How many wait and for how long, in one sentence."""
        if self.problem:
            return f"not known: {self.problem}"
        if not self.told:
            return f"not known: nobody has said anything of {self.asked} subscriptions in the last minutes; `retune dlq list` pulls them"
        return "; ".join(map(_text, self.waiting)) or f"none in {self.told} subscriptions"


def _text(backlog: Backlog) -> str:
    age = "" if backlog.oldest_s is None else f", the oldest for {lasting(backlog.oldest_s)}"
    return f"{backlog.waiting} in {backlog.subscription}{age}"


def read_dead_letters(backlogs: Backlogs, now: datetime) -> DeadLetters:
    """Ask how many dead letters wait; that nobody says is an answer too."""
    names = [dead_letter_topic(name) for name in subscriptions()]
    try:
        found = backlogs.look(names, now)
    except NotTold as error:
        return DeadLetters(asked=len(names), problem=str(error))
    waiting = sorted((each for each in found if each.waiting), key=lambda each: (-each.waiting, each.subscription))
    return DeadLetters(waiting=tuple(waiting), told=len(found), asked=len(names))
