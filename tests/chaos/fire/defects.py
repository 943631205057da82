"""Defects that are planted in the functions and in Pub/Sub of a burning stack, to show that the audit finds them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from functions.collector.handler import Collector, Outcome
from functions.deployer.evidence import Evidence
from functions.launcher import opening
from infra.local.pubsub_server import SqliteJournal
from shared import keys
from shared.bus import Message
from shared.cas import find
from shared.documents import sha256_hex
from shared.head import KnownHead, begin_head
from shared.registry import CODEC
from shared.testing.pubsub_queue import StoredMessage

WRITTEN_AFTER_S = 1.5
ANSWERED_BEFORE_S = 10.0


@dataclass(frozen=True)
class Defect:
    """Something that a careless change could bring in.

    Attributes:
        found_by: the rule that must find it.
        plant: puts it into this process.
    """

    found_by: str
    plant: Callable[[], None]


def _acknowledge_before_the_write() -> None:
    take = Collector._take

    def hasty(self: Collector, messages: Sequence[Message], head: KnownHead) -> list[Outcome]:
        def later() -> None:
            threading.Event().wait(WRITTEN_AFTER_S)
            take(self, messages, head)

        threading.Thread(target=later, daemon=True).start()
        return [Outcome() for _ in messages]

    patch.object(Collector, "_take", hasty).start()


def _deploy_without_verification() -> None:
    def believe(ports: Any, version: int, _claim: Any) -> Evidence:
        stored = find(ports.store, keys.manifest(version))
        found = find(ports.store, keys.PRODUCTION)
        champion = CODEC.parse(found.data).stable if found else None
        return Evidence(champion=champion, report_sha256="0" * 64, manifest_sha256=sha256_hex(stored.data) if stored else "0" * 64)

    patch("functions.deployer.moves.check_evidence", believe).start()


def _ignore_the_running_cycle() -> None:
    def open_anyway(deps: opening.LaunchDeps, event: Any) -> str:
        return opening._open(deps, begin_head(deps.ports.store), [], event)

    patch("functions.launcher.handler.request_cycle", open_anyway).start()


def _end_no_machines() -> None:
    patch("functions.sweeper.handler._reap", lambda _deps, _names: []).start()


def _trust_what_is_known_of_the_head() -> None:
    patch.object(KnownHead, "read", KnownHead.last).start()


def _answer_before_the_commit() -> None:
    add, commit = SqliteJournal.add, SqliteJournal.commit
    late: deque[tuple[float, StoredMessage, list[str]]] = deque()

    def add_later(_self: SqliteJournal, message: StoredMessage, subscriptions: Iterable[str]) -> None:
        late.append((time.monotonic() + ANSWERED_BEFORE_S, message, list(subscriptions)))

    def commit_the_rest(self: SqliteJournal) -> None:
        while late and late[0][0] <= time.monotonic():
            add(self, *late.popleft()[1:])
        commit(self)

    patch.object(SqliteJournal, "add", add_later).start()
    patch.object(SqliteJournal, "commit", commit_the_rest).start()


DEFECTS: Mapping[str, Defect] = {
    "collector acknowledges before the write": Defect("every_report_is_in_its_place", _acknowledge_before_the_write),
    "collector does not look at the head again": Defect("every_report_is_in_its_place", _trust_what_is_known_of_the_head),
    "deployer skips verification": Defect("every_move_was_justified", _deploy_without_verification),
    "launcher ignores the running cycle": Defect("cycles_ran_one_by_one", _ignore_the_running_cycle),
    "Pub/Sub answers before the commit": Defect("every_message_reaches_its_readers", _answer_before_the_commit),
    "sweeper ends no machines": Defect("no_machine_is_left", _end_no_machines),
}
