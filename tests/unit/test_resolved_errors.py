"""What becomes of errors that a version fixed: cases for later cycles, and word to production. Each test reads as a history."""

import json
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from typer.testing import Result

from functions.sweeper.resolve import resolve_errors, settled
from infra.forget.command import forget
from infra.wording import when
from shared import keys
from shared.bus import Message
from shared.cas import find
from shared.cases import IN_ONE_EVENT, MOST_CASES, Closed, Resolved, case_of, resolved_events, with_cases
from shared.corpora import CorpusClip, load_corpus
from shared.cycle import Status
from shared.dataset import Row
from shared.documents import parse_document, parse_lines
from shared.errors import Retryable
from shared.policy import CanaryPolicy
from shared.splits import cluster_of
from shared.suites import Change, find_suite, write_suite
from shared.testing import builders
from shared.testing.clock import START
from shared.training import Clip, TrainingSpec
from shared.verdict import ValidationReport, parse_report
from tests.command_line import command_line
from tests.world import POLICY, World, right, wrong

GUARD_S = 3600.0
WATCHED = POLICY.model_copy(update={"canary": CanaryPolicy(guard_s=GUARD_S)})


def deployed() -> World:
    """Return a world in which v1 was deployed: v0 hears everything wrongly, v1 heals all but the multiples of seven."""
    made = World(WATCHED)
    made.install_model()
    made.record_calls(range(400))
    report(made, range(60))
    made.train(1, base=wrong, candidate=heals)
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    return made


def report(made: World, numbers: range) -> None:
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
    made.settle()


def heals(clip: Clip) -> str:
    return "call back" if int(clip.utterance_id[1:]) % 7 == 0 else clip.reference


def first_model(clip: Clip) -> str:
    """What v1 hears: new calls wrongly."""
    return wrong(clip) if int(clip.utterance_id[1:]) >= 200 else heals(clip)


def messages(made: World, kind: str) -> list[Message]:
    return [message for message in made.bus.published("model-events") if message.attributes["type"] == kind]


def clips_of(made: World, cycle: int, name: str) -> list[Clip]:
    spec = parse_document(TrainingSpec, made.store.get(keys.spec(cycle)).data, what="spec")
    ref = next((each.ref for each in spec.sets if each.name == name), None)
    return parse_lines(Clip, made.store.get(ref.key).data, what=name) if ref else []


def verdict(made: World, cycle: int) -> ValidationReport:
    return parse_report(made.store.get(keys.report(cycle)).data)


def closed(made: World) -> list[Closed]:
    return parse_lines(Closed, made.store.get(keys.closure(1)).data, what="closure")


def names(clips: tuple[CorpusClip, ...]) -> set[str]:
    return {item.utterance_id for item in clips}


def test_every_production_error_is_closed_and_the_learned_ones_are_told_apart() -> None:
    made = deployed()
    learned = {item.utterance_id for item in closed(made) if item.learned}
    held_out = {item.utterance_id for item in closed(made) if not item.learned}
    assert learned | held_out == {f"u{number}" for number in range(60)}
    assert learned.isdisjoint(held_out)
    assert learned == {item.utterance_id for name in ("train-errors", "dev-errors") for item in clips_of(made, 1, name)}
    counts, memory = verdict(made, 1).closure, verdict(made, 1).learned_closure
    assert counts is not None
    assert memory is not None
    assert counts.fixed == sum(int(name[1:]) % 7 != 0 for name in held_out)
    assert (memory.fixed, memory.unchanged) == (sum(int(n[1:]) % 7 != 0 for n in learned), sum(int(n[1:]) % 7 == 0 for n in learned))


def test_what_was_learned_decides_nothing() -> None:
    """The candidate spoils all that it learned, and heals what was held out: it is accepted all the same."""
    made = World(WATCHED)
    made.install_model()
    made.record_calls(range(400))
    report(made, range(60))
    learned = {item.utterance_id for item in clips_of(made, 1, keys.LEARNING_SET)}
    made.train(1, base=wrong, candidate=lambda clip: "nothing of this" if clip.utterance_id in learned else clip.reference)
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    memory = verdict(made, 1).learned_closure
    assert memory is not None
    assert (memory.fixed, memory.worse) == (0, len(learned))


def test_fixed_errors_become_cases_and_are_reported_back_once_the_guard_has_ended() -> None:
    made = deployed()
    made.tick(GUARD_S - 60)
    assert find(made.store, keys.suite(keys.FIXED_SUITE)) is None
    assert messages(made, "ErrorsResolved") == []
    made.tick(120)
    fixed = [item for item in closed(made) if item.resolved_by == 1]
    suite, memory = load_corpus(made.store, keys.suite(keys.FIXED_SUITE)).clips, load_corpus(made.store, keys.MEMORY).clips
    assert names(suite) == {item.utterance_id for item in fixed if not item.learned}
    assert names(memory) == {item.utterance_id for item in fixed if item.learned}
    assert all(item.speaker == f"speaker:s{item.utterance_id[1:]}" for item in (*suite, *memory))
    [told] = [json.loads(message.data) for message in messages(made, "ErrorsResolved")]
    assert (told["version"], set(told["held_out"]), set(told["learned"])) == (1, names(suite), names(memory))
    info = find_suite(made.store, keys.FIXED_SUITE)
    assert info is not None
    assert [(version.by, version.change) for version in info.versions] == [("sweeper", "errors that v1 fixed")]
    made.tick()
    assert len(messages(made, "ErrorsResolved")) == 1


def test_a_version_that_is_rolled_back_within_its_guard_resolves_nothing() -> None:
    made = deployed()
    made.type("model-commands", '{"rollback": 1}')
    made.settle()
    made.tick(2 * GUARD_S)
    assert load_corpus(made.store, keys.MEMORY).clips == ()
    assert messages(made, "ErrorsResolved") == []
    assert made.bus.failures == []


def test_a_version_that_was_followed_before_its_guard_ended_is_looked_at_with_its_follower() -> None:
    made = deployed()
    report(made, range(200, 260))
    made.train(2, base=first_model, candidate=right)
    made.settle()
    assert made.production().stable == 2
    made.tick(2 * GUARD_S)
    assert [json.loads(message.data)["version"] for message in messages(made, "ErrorsResolved")] == [1, 2]
    assert find(made.store, keys.resolved(1)) is not None


def test_a_later_cycle_hears_the_cases_again_and_says_which_came_back_and_that_decides_nothing() -> None:
    made = deployed()
    made.tick(2 * GUARD_S)
    memory = names(load_corpus(made.store, keys.MEMORY).clips)
    lost = min(memory)
    report(made, range(200, 260))
    assert {item.utterance_id for item in clips_of(made, 2, keys.MEMORY_SET)} == memory
    assert {item.utterance_id for item in clips_of(made, 2, keys.FIXED_SET)} == names(
        load_corpus(made.store, keys.suite(keys.FIXED_SUITE)).clips
    )
    taught = {item.utterance_id for item in clips_of(made, 2, "train-errors")}
    assert memory.isdisjoint(taught), "what was learned is not taught again"

    made.train(2, base=first_model, candidate=lambda clip: "gone again" if clip.utterance_id == lost else clip.reference)
    made.settle()
    assert made.state(2).status == Status.DEPLOYED
    found = {each.name: each for each in verdict(made, 2).rechecks}
    assert found[keys.FIXED_SET].came_back == 0
    again = found[keys.MEMORY_SET]
    assert (again.utterances, again.base_right, again.candidate_right) == (len(memory), len(memory), len(memory) - 1)
    assert [(change.utterance_id, change.candidate_hypothesis) for change in again.examples] == [(lost, "gone again")]
    page = made.store.get(keys.report_html(2)).data.decode()
    assert f"Learned: of {len(memory)}, {len(memory)} are right with" in page
    assert "1 came back" in page


def test_cases_tie_nobody_to_another_split() -> None:
    """The suite's speakers were held out and the memory's trained on already: later errors of the same people go where they went."""
    made = deployed()
    made.tick(2 * GUARD_S)
    before = {row.speaker: row.split for row in parse_lines(Row, made.store.get(keys.dataset(1)).data, what="1") if row.kind == "error"}
    again = range(60)
    made.publish(
        *(builders.error(n, event_id=f"again-{n}", utterance_id=f"u{n + 300}", audio_uri=f"gs://calls/u{n + 300}.wav") for n in again)
    )
    made.settle()
    rows = parse_lines(Row, made.store.get(keys.dataset(2)).data, what="2")
    errors = [row for row in rows if row.kind == "error" and row.origin == "fresh"]
    assert len(errors) == 60
    assert all(row.set_aside is None and row.split == before[row.speaker] for row in errors)


def test_a_frozen_suite_takes_no_case_and_everything_else_is_done() -> None:
    made = deployed()
    mine = CorpusClip(utterance_id="mine", audio=builders.pin(390), reference="fall back", speaker="speaker:s390")
    write_suite(made.store, keys.FIXED_SUITE, Change([mine], load_corpus(made.store, "none"), "mine", "ann"), made.clock.now())
    info = find_suite(made.store, keys.FIXED_SUITE)
    assert info is not None
    made.store.put(keys.suite_info(keys.FIXED_SUITE), info.model_copy(update={"frozen": True}).model_dump_json().encode())
    made.tick(2 * GUARD_S)
    assert load_corpus(made.store, keys.suite(keys.FIXED_SUITE)).clips == (mine,)
    assert load_corpus(made.store, keys.MEMORY).clips != ()
    assert find(made.store, keys.resolved(1)) is not None


def test_a_forgotten_person_leaves_the_cases_too() -> None:
    made = deployed()
    made.tick(2 * GUARD_S)
    for key in (keys.MEMORY, keys.suite(keys.FIXED_SUITE)):
        gone = load_corpus(made.store, key).clips[0]
        forget(made.ports, "speaker", gone.speaker.removeprefix("speaker:"), by="ann")
        left = load_corpus(made.store, key).clips
        assert left
        assert gone not in left
        assert not any(gone.utterance_id in data.decode(errors="replace").split('"') for data in everything(made))


def everything(made: World) -> list[bytes]:
    return [made.store.get(info.key).data for prefix in ("corpora/", "cycles/", "verdicts/", "runs/") for info in made.store.list(prefix)]


# faults


class Killed(Exception):
    """The process died."""


@cache
def undisturbed(hook: str = "before") -> tuple[dict[str, bytes], list[bytes], int]:
    """Return what one look leaves behind, what it publishes, and how many writes it begins (`before`) or completes (`after`)."""
    made = deployed()
    made.clock.advance(2 * GUARD_S)
    calls = [0]

    def count(operation: str, _key: str) -> None:
        calls[0] += operation in {"put", "delete"}

    setattr(made.store, hook, count)
    resolve_errors(made.ports)
    setattr(made.store, hook, lambda operation, key: None)
    return kept(made), [message.data for message in messages(made, "ErrorsResolved")], calls[0]


def kept(made: World) -> dict[str, bytes]:
    wanted = (keys.MEMORY, keys.suite(keys.FIXED_SUITE), keys.resolved(1))
    found = {key: find(made.store, key) for key in wanted}
    return {key: stored.data for key, stored in found.items() if stored is not None}


@pytest.mark.parametrize("hook", ["before", "after"])
def test_whoever_dies_at_any_write_is_followed_by_the_next_tick(hook: str) -> None:
    expected, told, writes = undisturbed(hook)
    assert writes >= 5
    for dies_at in range(writes):
        made = deployed()
        made.clock.advance(2 * GUARD_S)
        left = [dies_at]

        def die(operation: str, _key: str, left: list[int] = left) -> None:
            if operation in {"put", "delete"}:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed

        setattr(made.store, hook, die)
        with pytest.raises(Killed):
            resolve_errors(made.ports)
        made.store.before = made.store.after = lambda operation, key: None
        resolve_errors(made.ports)
        assert kept(made) == expected
        assert {message.data for message in messages(made, "ErrorsResolved")} == set(told)


def test_a_publish_that_fails_is_repeated_with_the_very_same_event() -> None:
    made = deployed()
    made.clock.advance(2 * GUARD_S)

    class Away:
        def publish(self, message: Any) -> str:
            raise Retryable("Pub/Sub is away")

    with pytest.raises(Retryable):
        resolve_errors(replace(made.ports, publisher=Away()))
    assert find(made.store, keys.resolved(1)) is None
    made.clock.advance(60)
    resolve_errors(made.ports)
    assert [message.data for message in messages(made, "ErrorsResolved")] == undisturbed()[1]


# pure parts


def clip(number: int, cluster: str) -> Clip:
    return Clip(
        utterance_id=f"u{number}", cluster=cluster, stratum="errors", audio=builders.pin(number), reference="fall back", provenance="human"
    )


def row(**known: Any) -> Row:
    return Row.model_validate({"event_id": "e1", "kind": "error", "origin": "fresh", "occurred_at": START, "utterance_id": "u1", **known})


def test_a_case_has_the_name_under_which_it_was_judged() -> None:
    key = b"key"
    by_session = clip(1, cluster_of(key, speaker="session:c1"))
    told_late = [row(speaker="speaker:ann", session="session:c1"), row(session="session:c1", speaker="session:c1")]
    found = case_of(by_session, told_late, key)
    assert found is not None
    assert (found.speaker, found.session) == ("session:c1", "session:c1")
    pin = builders.pin(1)
    alone = case_of(clip(1, cluster_of(key, speaker=f"audio:{pin.crc32c}:{pin.size_bytes}")), [row()], key)
    assert alone is not None
    assert alone.speaker == f"audio:{pin.crc32c}:{pin.size_bytes}"
    assert case_of(by_session, [], key) is None
    assert case_of(by_session, [row(speaker="speaker:bob")], key) is None


def test_only_the_newest_cases_are_kept_and_none_twice() -> None:
    def cases(numbers: range) -> list[CorpusClip]:
        return [CorpusClip(utterance_id=f"u{n}", audio=builders.pin(n), reference="x", speaker="speaker:a") for n in numbers]

    kept_cases = with_cases(cases(range(MOST_CASES)), cases(range(MOST_CASES - 5, MOST_CASES + 3)))
    assert [item.utterance_id for item in kept_cases] == [f"u{n}" for n in range(3, MOST_CASES + 3)]


def test_many_resolved_errors_are_told_in_several_events_that_are_the_same_each_time() -> None:
    lines = [
        Closed(utterance_id=f"u{n}", fate="fixed", base_version=0, version=1, words=2, base_errors=1, candidate_errors=0, learned=n % 2 == 0, resolved_by=1)
        for n in range(IN_ONE_EVENT + 1)
    ]  # fmt: skip
    first, second = resolved_events(1, lines, START)
    assert (len(first.held_out), len(first.learned), second.learned) == (IN_ONE_EVENT // 2, IN_ONE_EVENT // 2, (f"u{IN_ONE_EVENT}",))
    assert first.event_id != second.event_id
    assert resolved_events(1, deepcopy(lines), START) == [first, second]
    assert resolved_events(2, lines, START) == []


def test_a_version_is_settled_when_its_guard_has_ended() -> None:
    made = deployed()
    since = made.production().moves[-1].at
    policy = CanaryPolicy(guard_s=GUARD_S)
    assert settled(made.production(), policy, since + timedelta(seconds=GUARD_S - 1)) is None
    assert settled(made.production(), policy, since + timedelta(seconds=GUARD_S)) == 1
    assert settled(made.production(), CanaryPolicy(guard_s=0), since) == 1
    assert settled(None, policy, since) is None


def test_a_model_that_was_never_judged_is_marked_and_tells_nothing() -> None:
    made = World(WATCHED)
    made.install_model()
    made.tick()
    marker = made.store.get(keys.resolved(0)).data
    assert parse_document(Resolved, marker, what="marker").held_out == 0
    assert messages(made, "ErrorsResolved") == []


# what a person asks


def retune(made: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    return command_line(made, monkeypatch, "explain")(*arguments)


def test_the_story_of_an_utterance_tells_who_heard_what_where_it_went_and_who_resolved_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = deployed()
    one = next(item.utterance_id for item in closed(made) if item.resolved_by == 1 and not item.learned)
    before = retune(made, monkeypatch, "--utterance", one)
    assert "resolved by no version yet" in before.stdout
    made.tick(2 * GUARD_S)
    lines = [line.strip() for line in retune(made, monkeypatch, "--utterance", one).stdout.splitlines()]
    assert lines == [
        f"Utterance {one}",
        f"cycle 1: error of {when(START)}, in holdout",
        "heard by v0: call back",
        "meant: fall back",
        "v1 beside v0: fixed, 1 -> 0 errors of 2 words; held out",
        "resolved by v1",
    ]
    made.type("model-commands", '{"rollback": 1}')
    made.settle()
    assert "resolved by v1, which does not serve any more" in retune(made, monkeypatch, "--utterance", one).stdout


def test_an_utterance_that_waits_in_the_ledger_is_told_of_and_one_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = deployed()
    made.publish(builders.error(300, reference=None), builders.correction(300))
    made.settle()
    story = json.loads(retune(made, monkeypatch, "--utterance", "u300", "--json").stdout)
    assert [(mention["cycle"], mention["kind"], mention["split"]) for mention in story["mentions"]] == [
        (2, "error", None),
        (2, "correction", None),
    ]
    assert story["resolved_by"] is None
    refused = retune(made, monkeypatch, "--utterance", "nobody")
    assert (refused.exit_code, "expected an event about it, found none" in refused.stderr) == (1, True)
    assert retune(made, monkeypatch, "--utterance", "u300", "--force").exit_code == 2
