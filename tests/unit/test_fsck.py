"""`retune registry fsck` on a real store: what is planted there is found, named and explained."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import cache

import pytest
from typer.testing import CliRunner

import infra.cli
import infra.fsck.cli
from infra.fsck.command import FsckReport, fsck
from infra.fsck.recollect import recollect
from infra.session import Session
from shared import keys, ledger
from shared.compaction import compact
from shared.documents import sha256_hex
from shared.errors import Retryable
from shared.forgotten import Redaction, record_redaction
from shared.objectstore import ABSENT
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from shared.totals import TOTALS, Totals, count_events
from tests.world import BUCKET, POLICY, World, copy_of, wrong

Spoil = Callable[[MemoryStore], object]


@cache
def world() -> World:
    """Return a world in which v1 was promoted, v2 found no better, and cycle 3 is collecting in a compacted part and a segment."""
    made = World(POLICY.model_copy(update={"min_error_cases": 12, "holdout_share": 0.5}))
    made.install_model()
    made.record_calls(range(200))
    for cycle in (1, 2):
        numbers = range(20 * cycle, 20 * cycle + 12)
        made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
        made.settle()
        made.train(cycle, **({"candidate": wrong} if cycle == 2 else {}))
        made.settle()
        made.tick(601)
    made.publish(builders.error(90))
    made.settle()
    made.publish(builders.error(91))
    made.settle()
    compact(made.store, 3)
    made.publish(builders.error(92))
    made.settle()
    return made


def copy() -> MemoryStore:
    return copy_of(world())


def found(store: MemoryStore, *, full: bool = False) -> dict[str, str]:
    """Return what was found, by where it was."""
    return {finding.where: finding.found for finding in fsck(store, full=full).findings}


def test_a_store_that_nobody_spoilt_is_clean() -> None:
    for full in (False, True):
        report = fsck(copy(), full=full)
        assert report.findings == ()
        assert (report.cycles, report.models, report.moves) == (2, 3, 2)


def test_a_bucket_that_has_just_been_made_is_clean() -> None:
    assert fsck(MemoryStore(BUCKET)).clean


def last(store: MemoryStore, prefix: str, part: str = "") -> str:
    return [info.key for info in store.list(prefix) if part in info.key][-1]


def rewrite(key: str, old: bytes, new: bytes) -> Spoil:
    def spoil(store: MemoryStore) -> None:
        data = store.get(key).data
        assert old in data
        store.put(key, data.replace(old, new, 1), metadata=store.stat(key).metadata)

    return spoil


def append(key: str, data: bytes) -> Spoil:
    return lambda store: store.put(key, store.get(key).data + data, metadata=store.stat(key).metadata)


def without_totals(store: MemoryStore) -> None:
    key = last(store, keys.ledger(3), "segment")
    store.put(key, store.get(key).data)


def too_low(store: MemoryStore) -> None:
    key = last(store, keys.ledger(3), "segment")
    store.put(key, store.get(key).data, metadata={TOTALS: Totals().model_dump_json()})


def stranded(store: MemoryStore) -> None:
    line = builders.error(150).model_dump_json(exclude_none=True).encode() + b"\n"
    totals = count_events([builders.error(150)]).model_dump_json()
    store.put(keys.segment(1, "late"), line, metadata={TOTALS: totals})


SPOILT: dict[str, tuple[Spoil, str]] = {
    "the alias is gone": (lambda store: store.delete(keys.PRODUCTION), keys.REGISTRY_LOG),
    "the alias is no JSON": (lambda store: store.put(keys.PRODUCTION, b"{"), keys.PRODUCTION),
    "the alias names another version": (rewrite(keys.PRODUCTION, b'"stable": 1', b'"stable": 2'), keys.PRODUCTION),
    "a move is not in the log": (lambda store: store.delete(keys.registry_log(2)), keys.REGISTRY_LOG),
    "a move is under another number": (rewrite(keys.registry_log(2), b'"seq": 2', b'"seq": 7'), keys.registry_log(2)),
    "the head is gone": (lambda store: store.delete(keys.HEAD), keys.HEAD),
    "the head is torn": (lambda store: store.put(keys.HEAD, b""), keys.HEAD),
    "a state is gone": (lambda store: store.delete(keys.state(1)), keys.state(1)),
    "a state is torn": (lambda store: store.put(keys.state(2), store.get(keys.state(2)).data[:-20]), keys.state(2)),
    "a state tells another story": (rewrite(keys.state(1), b'"status": "training"', b'"status": "canary"'), keys.state(1)),
    "a manifest is gone": (lambda store: store.delete(keys.manifest(1)), keys.manifest(1)),
    "a manifest is altered": (append(keys.manifest(2), b" "), keys.manifest(2)),
    "a manifest is torn": (lambda store: store.put(keys.manifest(1), b'{"v": 1'), keys.manifest(1)),
    "a model file is gone": (lambda store: store.delete(f"{keys.model(1)}model.safetensors"), keys.manifest(1)),
    "a model file is longer": (append(f"{keys.model(1)}model.safetensors", b"!"), keys.manifest(1)),
    "a model file lies beside": (lambda store: store.put(f"{keys.model(1)}old.json", b"{}"), f"{keys.model(1)}old.json"),
    "a report is gone": (lambda store: store.delete(keys.report(2)), keys.report(2)),
    "a report is altered": (append(keys.report(1), b"\n"), keys.registry_log(2)),
    "a result is altered": (append(keys.result(2), b"\n"), keys.result(2)),
    "a spec is altered": (append(keys.spec(2), b"\n"), keys.spec(2)),
    "a dataset is altered": (append(keys.dataset(2), b"\n"), keys.dataset(2)),
    "a dataset is gone": (lambda store: store.delete(keys.dataset(1)), keys.dataset(1)),
    "a set of clips is altered": (append(keys.clips(2, "train-errors"), b"\n"), keys.clips(2, "train-errors")),
    "a holdout is gone": (lambda store: store.delete(keys.holdout(1)), keys.holdout(1)),
    "a segment is torn": (append(last(copy(), keys.ledger(3), "segment"), b'{"type": "SttErr'), last(copy(), keys.ledger(3), "segment")),
    "a segment has no totals": (without_totals, last(copy(), keys.ledger(3), "segment")),
    "a segment counts too little": (too_low, last(copy(), keys.ledger(3), "segment")),
    "a part is gone": (lambda store: store.delete(last(store, keys.ledger(3), "part")), last(copy(), keys.ledger(3), "part")),
    "an index is torn": (lambda store: store.put(keys.ledger_index(3), b"[]"), keys.ledger_index(3)),
    "an event is stranded in a sealed ledger": (stranded, keys.ledger(1)),
    "somebody else wrote here": (lambda store: store.put("backup/registry.json", b"{}"), "backup/registry.json"),
    "a refusal has no reason": (
        lambda store: store.put(keys.quarantine("2026-01-05", "x"), b'{"function": "collector", "reason": "", "body": ""}'),
        keys.quarantine("2026-01-05", "x"),
    ),
    "a refusal is no JSON": (lambda store: store.put(keys.quarantine("2026-01-05", "x"), b"?"), keys.quarantine("2026-01-05", "x")),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_planted_in_a_store_is_found_where_it_is(what: str) -> None:
    spoil, where = SPOILT[what]
    store = copy()
    spoil(store)
    report = fsck(store)
    assert where in {finding.where for finding in report.findings}, report
    for finding in report.findings:
        assert finding.expected
        assert finding.found
        assert len(finding.advice) > 20


def altered_model() -> MemoryStore:
    """Return a store in which a file's bytes changed, and what the store says of them did not (a CRC32C that collides)."""
    store = copy()
    key = f"{keys.model(1)}model.safetensors"
    before = store._objects[key]
    store._objects[key] = type(before)(before.info, b"X" + before.data[1:])
    return store


def test_only_the_full_mode_reads_the_bytes_of_models() -> None:
    assert found(altered_model()) == {}
    (text,) = set(found(altered_model(), full=True).values())
    assert "models/000001/model.safetensors is not what the manifest names (SHA-256 " in text


def test_whom_somebody_forgot_is_no_inconsistency() -> None:
    store = copy()
    before = store.get(keys.dataset(2))
    after = before.data + b"\n"
    record_redaction(store, Redaction(key=keys.dataset(2), old_sha256=sha256_hex(before.data), new_sha256=sha256_hex(after)))
    store.put(keys.dataset(2), after)
    assert found(store) == {}


def test_runs_that_the_buckets_lifecycle_deleted_are_not_missed() -> None:
    store, now = copy(), world().clock.now()
    for info in list(store.list("runs/")):
        store.delete(info.key)
    assert {finding.where for finding in fsck(store, now=now + timedelta(days=28)).findings} == {keys.result(1), keys.result(2)}
    assert fsck(store, now=now + timedelta(days=31)).clean


def test_stranded_events_are_collected_again_once() -> None:
    store = copy()
    stranded(store)
    (done,) = recollect(store)
    assert (done.sealed, done.cycle, done.event_ids) == (1, 3, ("e150",))
    assert "e150" in {event.event_id for event in ledger.read_events(store, 3)}
    assert found(store) == {}
    assert recollect(store) == []


def test_nothing_is_written_by_a_look() -> None:
    store = copy()
    touched: list[str] = []
    store.before = lambda operation, key: touched.append(operation)
    fsck(store, full=True)
    assert set(touched) <= {"get", "stat", "list"}


def run(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    ports = type(world().ports)(store, world().bus, world().clock, world().ports.settings)
    monkeypatch.setattr(infra.fsck.cli, "open_session", lambda: nullcontext(Session(ports, world().bus)))
    answered = CliRunner().invoke(infra.cli.app, ["registry", "fsck", *arguments])
    return answered.exit_code, answered.stdout


def test_the_command_says_clean_with_code_0(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run(copy(), monkeypatch)
    assert code == 0
    assert text.startswith("gs://retune-test: ")
    assert ": clean by " in text.replace("\n", " ")
    code, text = run(copy(), monkeypatch, "--full", "--json")
    assert code == 0
    assert FsckReport.model_validate_json(text).full


def test_the_command_names_findings_with_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    store = copy()
    store.delete(keys.report(2))
    code, text = run(store, monkeypatch)
    assert code == 1
    assert "verdicts/000002/report.json" in text
    for word in ("expected", "found", "do"):
        assert f"\n  {word} " in text
    code, text = run(store, monkeypatch, "--json")
    (finding,) = json.loads(text)["findings"]
    assert code == 1
    assert (finding["where"], finding["rule"]) == (keys.report(2), "states_have_their_documents")


def test_the_command_says_that_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    store = copy()

    def away(operation: str, key: str) -> None:
        raise Retryable(f"{operation} {key}: expected the store, found nobody")

    store.before = away
    assert run(store, monkeypatch)[0] == 3


def test_a_head_that_was_never_written_stands_at_the_first_cycle() -> None:
    store = MemoryStore(BUCKET)
    store.put(keys.SPLIT_KEY, b"key", if_generation_match=ABSENT)
    assert found(store) == {}
