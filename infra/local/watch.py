"""What a person at the terminal wants to know of a running stack: moves of cycles and of the production alias."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from functions.crossing import Declined
from shared import keys
from shared.cas import find
from shared.cycle import CODEC, CycleState
from shared.documents import parse_document
from shared.head import FIRST_CYCLE, read_head
from shared.ids import version_name
from shared.objectstore import ObjectStore
from shared.registry import CODEC as PRODUCTION
from shared.registry import Production

INTERVAL_S = 0.5
LOOK_BACK = 3
"""States of so many newest cycles are looked at."""


@dataclass(frozen=True)
class View:
    """What was seen at one look."""

    states: Mapping[int, CycleState] = field(default_factory=dict)
    production: Production = field(default_factory=Production)
    declined: Declined | None = None


@dataclass(frozen=True)
class News:
    """One line for the terminal."""

    at: datetime
    text: str


def look(store: ObjectStore) -> View:
    """Read what stands in the store."""
    head = read_head(store)
    states = {}
    for number in range(max(FIRST_CYCLE, head - LOOK_BACK), head + 1):
        found = find(store, keys.state(number))
        if found is not None:
            states[number] = CODEC.parse(found.data)
    alias = find(store, keys.PRODUCTION)
    refusal = find(store, keys.declined(head))
    return View(
        states=states,
        production=PRODUCTION.parse(alias.data) if alias else Production(),
        declined=parse_document(Declined, refusal.data, what=refusal.info.key) if refusal else None,
    )


def news(before: View, after: View) -> list[News]:
    """Return what happened between two looks, oldest first."""
    lines = []
    for number, state in after.states.items():
        seen = len(before.states[number].history) if number in before.states else 0
        lines += [News(entry.at, f"cycle {number} is {entry.status}: {entry.reason}") for entry in state.history[seen:]]
    for move in after.production.moves:
        if move.seq > before.production.seq:
            stable = "no version" if move.stable_after is None else version_name(move.stable_after)
            lines.append(News(move.at, f"{move.kind} {version_name(move.version)}, {stable} is stable: {move.reason}"))
    if after.declined is not None and after.declined != before.declined:
        held = "; ".join(after.declined.decision.held)
        lines.append(News(after.declined.at, f"cycle {after.declined.cycle} declined: {held}"))
    return sorted(lines, key=lambda line: line.at)


class Watcher:
    """Tells what happens in a store from the moment it is entered."""

    def __init__(self, store: ObjectStore, tell: Callable[[News], None]) -> None:
        self._store = store
        self._tell = tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._seen = look(self._store)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look_again()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._look_again()

    def _look_again(self) -> None:
        seen = look(self._store)
        for line in news(self._seen, seen):
            self._tell(line)
        self._seen = seen
