"""Runs a plan against a burning stack, lets everything come to rest, and checks the books with the rules of the simulation."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from functions.wiring import READS
from infra.simulate.trainers import store_model
from shared import keys
from shared.bus import Outgoing
from shared.cas import create, find
from shared.cycle import CODEC as STATES
from shared.cycle import CycleState
from shared.events import FINETUNE_TRIGGERS, MODEL_COMMANDS, MODEL_EVENTS
from shared.messages import parse_event
from shared.registry import CODEC as PRODUCTION
from tests.chaos.acts import EXPECTED
from tests.chaos.audit import Breach, audit
from tests.chaos.books import Outside
from tests.chaos.fire.acts import Actors, wait_until
from tests.chaos.fire.journal import Entry
from tests.chaos.fire.schedule import Act, Plan
from tests.chaos.fire.stack import BurningStack
from tests.chaos.fire.timeline import Line
from tests.chaos.reading import read_books
from tests.chaos.runner import LAST_WORDS, ROUND_S, publishes, restless_under
from tests.chaos.schedule import POLICIES

WORK_S = 60.0
"""So long, in real time, a round waits for who is at work; then time moves on, and they are taken for dead."""
FIRST_MODEL_S = 60.0
LAST_REPORTS = 4
_FAILED = re.compile(r"failed, to be delivered again: (\w+): (.*)", re.DOTALL)
_EXPECTED = frozenset({*(kind.__name__ for kind in EXPECTED), "CallFailed"})
"""The last one is what Retryable is called where Compute Engine is asked."""


@dataclass(frozen=True)
class Burned:
    """What came of a plan.

    Attributes:
        breaches: none = the books balance and everything came to rest.
        timeline: what happened, for people.
        struck: how often each (link, fate) has struck.
        killed: how often each process was killed.
        machines: how many VMs there have been.
        cycles: how each cycle stands.
        moves: of the alias.
        published, handled: messages, and deliveries that ended well.
    """

    plan: Plan
    breaches: tuple[Breach, ...]
    timeline: tuple[str, ...]
    struck: Counter[tuple[str, str]]
    killed: dict[str, int]
    machines: int
    cycles: tuple[str, ...]
    moves: int
    published: int
    handled: int


def burn(plan: Plan, folder: Path) -> Burned:
    """Run a plan in an empty folder."""
    with BurningStack(folder, POLICIES[plan.policy], plan.seed, plan.defects, plan.stays) as stack:
        return _Run(plan, stack).outcome()


class _Run:
    def __init__(self, plan: Plan, stack: BurningStack) -> None:
        self.plan = plan
        self.stack = stack
        self.actors = Actors(stack)
        self.breaches: list[Breach] = []

    def outcome(self) -> Burned:
        stack, timeline = self.stack, self.stack.timeline
        try:
            self._install_model()
            timeline.began = time.time()
            began, never = time.monotonic(), threading.Event()
            for act in self.plan.acts:
                never.wait(max(0.0, began + act.at_s - time.monotonic()))
                self.actors.act(act)
            never.wait(max(0.0, began + self.plan.seconds - time.monotonic()))
            self._come_to_rest()
        finally:
            stack.heal()
            self.actors.close()
        logged = {function: stack.function_lines(function) for function in READS}
        entries = stack.journal.entries()
        self._check(logged)
        outside = self._outside()
        self.breaches += audit(read_books(stack.store, outside, stack.journal.seen()), uploads_may_die=True)
        return Burned(
            self.plan,
            tuple(self.breaches),
            tuple(timeline.told(*_handled(logged), *_moved(entries))),
            stack.weather.struck,
            stack.restarts,
            stack.compute.lives_so_far,
            tuple(str(state.status) for state in self._states()),
            sum(entry.key == keys.PRODUCTION for entry in entries),
            len(outside.publishes),
            sum(_message(line).get("severity") == "INFO" and "message_id" in _message(line) for lines in logged.values() for line in lines),
        )

    def _install_model(self) -> None:
        stack = self.stack
        create(stack.store, keys.SPLIT_KEY, b"a key that tests share")
        store_model(stack.store, stack.clock, 0, base=None, learned=())
        self.actors.publish(Outgoing(MODEL_COMMANDS, b'{"promote": 0, "override": true, "reason": "first model", "by": "ana"}', {}))
        if not wait_until(lambda: find(stack.store, keys.PRODUCTION) is not None, FIRST_MODEL_S):
            raise TimeoutError(f"expected the first model to be promoted within {FIRST_MODEL_S} s; see what the deployer has logged")

    # rest

    def _come_to_rest(self) -> None:
        """Heal, let everybody do their work until nothing moves, then have one more dataset sealed."""
        self.stack.timeline.tell("everything heals")
        self.stack.heal()
        self.actors.finish()
        self._rest()
        self.actors.report(Act("report", LAST_REPORTS))  # so that there is something to be sealed
        for text in LAST_WORDS:
            self.stack.timeline.tell(f"at the end: {text}")
            self.actors.publish(Outgoing(FINETUNE_TRIGGERS, text.encode(), {}))
            self.actors.finish()
            self._round()
        self._rest()

    def _rest(self) -> None:
        for _ in range(self.plan.rounds):
            self._round()
            if self._rests():
                return
        moving = {state.cycle: str(state.status) for state in self._moving()}
        found = f"cycles {moving}, messages {self._waiting()}, machines {self._machines()}"
        self._breach("everything_comes_to_rest", f"after {self.plan.rounds} ticks: {found}")

    def _round(self) -> None:
        """Let five minutes pass and the sweeper look; wait while handlers and trainers are at work, not for what backs off."""
        self.stack.advance(ROUND_S)
        self.actors.tick(self.plan.acts[0])
        self.actors.finish()
        wait_until(lambda: not self.stack.at_work, WORK_S)

    def _rests(self) -> bool:
        return not self._moving() and not self._waiting() and not self._machines()

    def _waiting(self) -> dict[str, int]:
        return {name: count for name, count in self.stack.look().waiting.items() if count}

    def _machines(self) -> list[str]:
        """Return the machines that are there: once nothing moves, the next tick ends what nobody wants."""
        return [name for _, name in self.stack.compute.names()]

    def _states(self) -> list[CycleState]:
        listed = (info.key for info in self.stack.store.list(keys.CYCLES))
        found = (find(self.stack.store, key) for key in listed if key.endswith("/state.json"))
        return [STATES.parse(stored.data) for stored in found if stored is not None]

    def _moving(self) -> list[CycleState]:
        restless = restless_under(POLICIES[self.plan.policy])
        return [state for state in self._states() if state.status in restless]

    # the books

    def _breach(self, rule: str, text: str) -> None:
        self.breaches.append(Breach(rule, text))

    def _check(self, logged: dict[str, list[Line]]) -> None:
        """Note what only somebody outside the books can see."""
        for function, lines in logged.items():
            for line in lines:
                found = _FAILED.fullmatch(_message(line).get("message", ""))
                if found and found[1] not in _EXPECTED:
                    self._breach("handlers_fail_only_with_what_is_expected", f"{function}: {found[1]}: {found[2]}")
            reached = {message_id for line in lines if (message_id := _settled(line))}
            for topic in READS[function]:
                for message in self.stack.acknowledged.published(topic):
                    if message.message_id not in reached:
                        text = f"message {message.message_id} of {topic} was acknowledged and never handled by the {function}"
                        self._breach("every_message_reaches_its_readers", text)
        for text in self.stack.compute.unexpected:
            self._breach("trainers_fail_only_with_what_is_expected", text)
        for text in self.stack.witness.premature:
            self._breach("persist_then_publish", text)
        for text in self.stack.problems_of_compute:
            self._breach("compute_engine_is_asked_as_google_describes_it", text)

    def _outside(self) -> Outside:
        stack = self.stack
        return Outside(
            publishes=tuple(publishes(stack.acknowledged)),
            announced=frozenset(parse_event(message).event_id for message in stack.acknowledged.published(MODEL_EVENTS)),
            waiting=self._waiting(),
            dead=stack.look().dead,
            machines=tuple(self._machines()),
            spans=stack.compute.spans(),
            clocks_agree=self.plan.clocks_agree,
        )


def _message(line: Line) -> dict[str, str]:
    """Return a line of a function's log; empty where it is not one of ours."""
    try:
        found = json.loads(line.text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _settled(line: Line) -> str:
    """Return the message that a function has handled or refused for good, as it says before it answers; empty = none."""
    said = _message(line)
    return "" if _FAILED.fullmatch(said.get("message", "")) else said.get("message_id", "")


def _handled(logged: dict[str, list[Line]]) -> Iterator[Line]:
    for function, lines in logged.items():
        for line in lines:
            said = _message(line)
            if "message_id" in said:
                event = said.get("event_id") or said["message_id"]
                yield Line(line.at, f"  {function} <- {event[:40]}: {said['message']}")


def _moved(entries: list[Entry]) -> Iterator[Line]:
    for entry in entries:
        if entry.key.endswith("/state.json"):
            last = STATES.parse(entry.data).history[-1]
            yield Line(entry.at, f"    = {entry.key} is {last.status} (attempt {last.attempt}) by {last.by}: {last.reason}")
        elif entry.key == keys.PRODUCTION:
            production = PRODUCTION.parse(entry.data)
            move = production.moves[-1]
            canary = production.canary.version if production.canary else None
            yield Line(entry.at, f"    = alias {production.seq}: {move.kind} v{move.version}, stable v{production.stable}, canary {canary}")
