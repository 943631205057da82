"""The state of a Pub/Sub server in one SQLite file, which holds what nobody has acknowledged [io].

A commit that has returned outlives the process, however that ends: the operating system has the pages. A power cut may take the last
commits with it, since nothing waits for the disk (`synchronous=NORMAL`), but leaves the file whole.
Source: https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from google.pubsub_v1 import types

from infra.errors import Unreachable
from infra.local.pubsub_server.resources import config_of, message_of, resource_of, stored_of
from shared.errors import Retryable
from shared.testing.pubsub_journal import Held, Journal, Waiting
from shared.testing.pubsub_queue import Delivery, Leased, StoredMessage, SubscriptionConfig

LIFE_IDS = 1 << 32
"""More numbers than one engine can use: the next one begins beyond them, whatever the clock says."""
_OPEN = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS life (first_id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS topic (name TEXT PRIMARY KEY, resource BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS subscription (name TEXT PRIMARY KEY, resource BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (
    subscription TEXT, message_id INTEGER, attempts INTEGER NOT NULL, message BLOB NOT NULL, PRIMARY KEY (subscription, message_id)
);
"""


class SqliteJournal(Journal):
    """Keeps an engine's state in a file. It belongs to one engine at a time, whose lock guards it; the file to one process."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            Unreachable: another process has it open, or it is no such file.
        """
        self._connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
        try:
            self._connection.executescript(_OPEN)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise Unreachable(
                f"{path}: expected the messages of a Pub/Sub server that no longer runs, found {error}: end the one that runs, "
                "or move the file away, and what waits in it"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def first_id(self, at_least: int) -> int:
        """Return the engine's first number, above all that engines before it can have used; kept at once."""
        with _translated():
            (last,) = self._connection.execute("SELECT max(first_id) FROM life").fetchone()
            first = at_least if last is None else max(at_least, last + LIFE_IDS)
            self._connection.execute("INSERT INTO life VALUES (?)", (first,))
        self.commit()
        return first

    def held(self) -> Held:
        """Return what there is."""
        ask = self._connection.execute
        waiting = ask("SELECT subscription, message, attempts FROM waiting ORDER BY message_id")
        return Held(
            dict(ask("SELECT name, resource FROM topic")),
            [config_of(types.Subscription.pb().FromString(resource)) for (resource,) in ask("SELECT resource FROM subscription")],
            [Waiting(name, stored_of(types.PubsubMessage.pb().FromString(message)), attempts) for name, message, attempts in waiting],
        )

    def put_topic(self, name: str, resource: bytes) -> None:
        """Keep a topic."""
        self._write("INSERT OR REPLACE INTO topic VALUES (?, ?)", [(name, resource)])

    def delete_topic(self, name: str) -> None:
        """Forget a topic."""
        self._write("DELETE FROM topic WHERE name = ?", [(name,)])

    def put_subscription(self, config: SubscriptionConfig) -> None:
        """Keep a subscription's settings, in place of those it had."""
        self._write("INSERT OR REPLACE INTO subscription VALUES (?, ?)", [(config.name, resource_of(config).SerializeToString())])

    def delete_subscription(self, name: str) -> None:
        """Forget a subscription and what waits in it."""
        self._write("DELETE FROM subscription WHERE name = ?", [(name,)])
        self._write("DELETE FROM waiting WHERE subscription = ?", [(name,)])

    def add(self, message: StoredMessage, subscriptions: Iterable[str]) -> None:
        """Keep a message for each of the subscriptions."""
        body = message_of(message).SerializeToString()
        self._write("INSERT INTO waiting VALUES (?, ?, 0, ?)", ((name, int(message.message_id), body) for name in subscriptions))

    def count(self, subscription: str, leased: Iterable[Leased]) -> None:
        """Keep how often messages were delivered."""
        rows = ((each.attempt, subscription, int(each.message.message_id)) for each in leased)
        self._write("UPDATE waiting SET attempts = ? WHERE subscription = ? AND message_id = ?", rows)

    def settle(self, subscription: str, deliveries: Iterable[Delivery]) -> None:
        """Forget messages that were acknowledged, or that went to the dead-letter topic."""
        rows = ((subscription, int(delivery.message.message_id)) for delivery in deliveries)
        self._write("DELETE FROM waiting WHERE subscription = ? AND message_id = ?", rows)

    def commit(self) -> None:
        """Keep all changes since the last time, together.

        Raises:
            Retryable: they could not be written; some may be kept.
        """
        if self._connection.in_transaction:
            with _translated():
                self._connection.commit()

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with _translated():
            self._connection.executemany(statement, rows)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # a full disk
        raise Retryable(f"the journal could not be written: {error}") from error
