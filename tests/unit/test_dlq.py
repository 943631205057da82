"""Dead letters: what is refused until it is given up comes back once the cause is mended, or is dropped on record."""

import json
from functools import partial

import pytest
from typer.testing import Result

from functions.push import body_of, quarantine
from functions.wiring import READS, dead_letter_topic, subscription_name
from infra.dlq import drop, letters, show
from infra.fsck.command import fsck
from shared import ledger
from shared.bus import Outgoing
from shared.errors import Retryable
from shared.events import STT_ERRORS, TOPICS
from shared.testing import builders
from shared.testing.memory_store import Hook
from tests.command_line import command_line, session_of
from tests.world import World

COLLECTOR = subscription_name("collector", STT_ERRORS)
ATTEMPTS = 5


class WithDeadLetters(World):
    """A world whose subscriptions give up as those in production do, sooner."""

    def _wire(self) -> None:
        for topic in TOPICS:
            self.bus.create_topic(topic)
        for function, topics in READS.items():
            for topic in topics:
                name = subscription_name(function, topic)
                dead = dead_letter_topic(name)
                self.bus.create_topic(dead)
                self.bus.create_subscription(dead, dead, min_backoff_s=0.0, max_backoff_s=0.0)
                self.bus.create_subscription(topic, name, dead_letter_topic=dead, max_delivery_attempts=ATTEMPTS)
                self.bus.subscribe(name, partial(self._deliver, function))

    def fail_all_tries(self) -> None:
        for _ in range(ATTEMPTS + 1):
            self.settle()
            self.clock.advance(600)
        self.settle()


@pytest.fixture
def world() -> WithDeadLetters:
    made = WithDeadLetters()
    made.install_model()
    made.record_calls(range(200))
    return made


def nobody_writes_ledgers(operation: str, key: str) -> None:
    if operation == "put" and key.startswith("ledger/"):
        raise Retryable(f"{key}: expected the store, found nobody")


def given_up(world: WithDeadLetters) -> str:
    """Report an error while the store is away until it is dead; return its event_id."""
    mended: Hook = world.store.before
    world.store.before = nobody_writes_ledgers
    world.publish(builders.error(7))
    world.fail_all_tries()
    world.store.before = mended
    return "e7"


def retune(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    return command_line(world, monkeypatch, "dlq")(*arguments)


def collected(world: World) -> list[str]:
    return [event.event_id for event in ledger.read_events(world.store, 1)]


def test_a_message_comes_back_once_its_cause_is_mended(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    event_id = given_up(world)
    assert len(world.bus.failures) == ATTEMPTS
    assert world.bus.backlog(COLLECTOR) == 0
    (letter,) = letters.list_dead(session_of(world)).dead
    assert (letter.subscription, letter.original_id) == (COLLECTOR, event_id)
    assert collected(world) == []

    answered = retune(world, monkeypatch, "replay", "--id", event_id)
    assert (answered.exit_code, answered.stdout) == (0, f"{event_id} to {STT_ERRORS}\n")
    world.settle()
    assert collected(world) == [event_id]
    assert ledger.count(world.store, 1).errors == 1
    assert letters.list_dead(session_of(world)).dead == ()
    assert fsck(world.store).clean


def test_a_message_whose_cause_is_not_mended_is_given_up_again(world: WithDeadLetters) -> None:
    given_up(world)
    world.store.before = nobody_writes_ledgers
    assert len(letters.replay(session_of(world), subscription=None, wanted=lambda _: True)) == 1
    world.fail_all_tries()
    (letter,) = letters.list_dead(session_of(world)).dead
    assert (letter.subscription, letter.original_id) == (COLLECTOR, "e7")


def test_what_is_published_again_twice_is_consumed_once(world: WithDeadLetters) -> None:
    given_up(world)
    letters.replay(session_of(world), subscription=None, wanted=lambda _: True)
    world.bus.publish(Outgoing(STT_ERRORS, world.bus.published(STT_ERRORS)[-1].data, world.bus.published(STT_ERRORS)[-1].attributes))
    world.settle()
    assert collected(world) == ["e7"]


def test_a_replay_that_dies_before_its_acknowledgement_leaves_the_letter(world: WithDeadLetters) -> None:
    given_up(world)
    world.bus.fail_publishes()
    with pytest.raises(Retryable):
        letters.replay(session_of(world), subscription=None, wanted=lambda _: True)
    world.clock.advance(600)
    assert [letter.original_id for letter in letters.list_dead(session_of(world)).dead] == ["e7"]


def test_a_dead_letter_is_shown_in_full_and_stays(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up(world)
    for _ in range(2):
        answered = retune(world, monkeypatch, "show", "e7")
        assert answered.exit_code == 0
        assert answered.stdout.startswith(f"{COLLECTOR}-dead\nmessage ")
        assert '"hypothesis":"call back"' in answered.stdout
        assert "type: SttError" in answered.stdout
    (shown,) = json.loads(retune(world, monkeypatch, "show", "e7", "--json").stdout)
    assert (shown["letter"]["original_id"], json.loads(shown["data"])["utterance_id"]) == ("e7", "u7")


def test_what_is_in_quarantine_is_shown_with_its_reason(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"message": {"messageId": "1", "data": "eyJhIjogMX0=", "attributes": {"type": "SttErr"}}}'
    key = quarantine(world.store, function="collector", reason="no such type", body=body_of(body), now=world.clock.now())
    answered = retune(world, monkeypatch, "show", key)
    assert answered.stdout == f'{key}\nwhy: no such type\ntype: SttErr\n\n{{"a": 1}}\n'
    torn = quarantine(world.store, function="collector", reason="expected JSON", body=body_of(b"\xff{"), now=world.clock.now())
    assert retune(world, monkeypatch, "show", torn).stdout == f"{torn}\nwhy: expected JSON\n\n\\xff{{\n"


@pytest.mark.parametrize("wanted", ["e99", "quarantine/2026-01-05/none.json"])
def test_what_is_not_there_is_said(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    answered = retune(world, monkeypatch, "show", wanted)
    assert answered.exit_code == 1
    assert "found none: `retune dlq list`" in answered.stderr


def test_a_dropped_letter_is_kept_with_who_and_why_and_delivered_to_nobody(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up(world)
    answered = retune(world, monkeypatch, "drop", "--id", "e7", "--by", "ana", "--reason", "a test call")
    assert answered.exit_code == 0
    (item,) = letters.list_dead(session_of(world)).quarantined
    assert answered.stdout == f"e7 is dropped; kept as {item.key}\n"
    assert (item.function, item.reason) == ("collector", "dropped by ana (claimed): a test call")
    (shown,) = show.show_refused(session_of(world), item.key)
    assert json.loads(shown.data)["event_id"] == "e7"
    world.fail_all_tries()
    assert collected(world) == []
    assert letters.list_dead(session_of(world)).dead == ()
    assert fsck(world.store).clean


def test_a_letter_that_could_not_be_kept_is_not_dropped(world: WithDeadLetters) -> None:
    given_up(world)

    def away(operation: str, key: str) -> None:
        if operation == "put" and key.startswith("quarantine/"):
            raise Retryable(f"{key}: expected the store, found nobody")

    world.store.before = away
    with pytest.raises(Exception, match="quarantine/"):
        drop.drop(session_of(world), subscription=None, wanted=lambda _: True, by="ana", reason="why")
    world.store.before = lambda _operation, _key: None
    world.clock.advance(600)
    assert [letter.original_id for letter in letters.list_dead(session_of(world)).dead] == ["e7"]


def test_a_drop_wants_to_know_which_and_why(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up(world)
    assert retune(world, monkeypatch, "drop", "--all").exit_code == 2
    assert retune(world, monkeypatch, "drop", "--reason", "why").exit_code == 2
    assert retune(world, monkeypatch, "drop", "--all", "--reason", " ").exit_code == 2
    assert retune(world, monkeypatch, "drop", "--id", "e99", "--reason", "why").exit_code == 1
    assert len(letters.list_dead(session_of(world)).dead) == 1
    assert not list(world.store.list("quarantine/"))


UNREADABLE = {
    "no JSON": b"\xff{ not JSON",
    "another form": b"[1, 2]",
    "a field short": b'{"function": "collector", "reason": "why", "body": "{}"}',
    "a field of another kind": b'{"function": 1, "reason": "why", "at": "2026-01-05T10:00:00Z", "body_bytes": 2, "body": "{}"}',
    "no time": b'{"function": "collector", "reason": "why", "at": "yesterday", "body_bytes": 2, "body": "{}"}',
    "nested too deeply": b"[" * 100_000,
    "nothing": b"",
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_in_quarantine_is_listed_shown_and_dropped(
    world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    good = quarantine(world.store, function="collector", reason="no such type", body=body_of(b"{}"), now=world.clock.now())
    key = "quarantine/2026-01-05/x.json"
    world.store.put(key, UNREADABLE[what])

    listed = retune(world, monkeypatch, "list", "--json")
    assert listed.exit_code == 0
    items = {item["key"]: item for item in json.loads(listed.stdout)["quarantined"]}
    assert (items[good]["readable"], items[key]["readable"], items[key]["body_bytes"]) == (True, False, len(UNREADABLE[what]))
    assert items[key]["reason"].startswith("unreadable: refused message: expected a valid Refusal, found ")
    assert "unreadable" in retune(world, monkeypatch, "list").stdout

    shown = retune(world, monkeypatch, "show", key)
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"{key}\nwhy: unreadable: ")
    text = UNREADABLE[what].decode(errors="backslashreplace")
    assert text[:1000] in shown.stdout

    replayed = retune(world, monkeypatch, "replay", "--id", key)
    assert replayed.exit_code == 1
    assert replayed.stderr.startswith(f"{key}: not published again: unreadable: ")

    dropped = retune(world, monkeypatch, "drop", "--id", key, "--by", "ana", "--reason", "a disk was torn")
    assert dropped.exit_code == 0
    assert dropped.stdout.startswith(f"{key} is dropped: dropped by ana (claimed): a disk was torn; unreadable: ")
    document = json.loads(world.store.get(key).data)
    assert document["body"] == text
    assert fsck(world.store).clean
    again = retune(world, monkeypatch, "drop", "--id", key, "--by", "ana", "--reason", "once more")
    assert (again.exit_code, "expected what nobody has dropped" in again.stderr) == (1, True)


def test_what_was_refused_for_good_is_not_published_again_and_can_be_dropped(
    world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = quarantine(world.store, function="collector", reason="no such type", body=body_of(b"{}"), now=world.clock.now())
    replayed = retune(world, monkeypatch, "replay", "--id", key)
    assert (replayed.exit_code, replayed.stdout) == (1, "")
    assert (
        replayed.stderr
        == f"{key}: not published again: collector refused it for good: no such type; mend the sender, and let it send anew\n"
    )
    dropped = retune(world, monkeypatch, "drop", "--id", key, "--by", "ana", "--reason", "known")
    assert dropped.stdout == f"{key} is dropped: dropped by ana (claimed): known; refused: no such type\n"
    (item,) = letters.list_dead(session_of(world)).quarantined
    assert (item.function, item.reason) == ("collector", "dropped by ana (claimed): known; refused: no such type")
    for command in (("replay",), ("drop", "--reason", "why")):
        assert retune(world, monkeypatch, *command, "--id", "quarantine/none.json").exit_code == 1


def test_a_huge_object_in_quarantine_is_listed_unread(world: WithDeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.dlq.quarantine.MAX_OBJECT_BYTES", 10)
    world.store.put("quarantine/2026-01-05/x.json", b"{" * 11)
    (item,) = json.loads(retune(world, monkeypatch, "list", "--json").stdout)["quarantined"]
    assert item["reason"] == "unreadable: expected at most 10 bytes, found 11"
    shown = retune(world, monkeypatch, "show", "quarantine/2026-01-05/x.json")
    assert (shown.exit_code, "look at it with your own tools" in shown.stderr) == (1, True)
