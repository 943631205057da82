"""What earlier releases left in a bucket is read by this one, means the same, and the system goes on from it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from functions.crossing import Declined
from infra.fsck.command import fsck
from infra.fsck.strays import KNOWN
from shared import keys, ledger
from shared.cases import Closed, Resolved
from shared.corpora import CorpusClip
from shared.cycle import CycleState, Status
from shared.dataset import Row
from shared.documents import parse_document, parse_lines, sha256_hex
from shared.forgotten import Forgotten, Redaction
from shared.gold import GoldRecord
from shared.head import Head, read_head
from shared.ledger import Index
from shared.manifest import ModelManifest
from shared.messages import parse_stored
from shared.policy import Policy
from shared.registry import Move, Production
from shared.suites import SuiteInfo
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from shared.told import Told
from shared.totals import TOTALS, Totals
from shared.training import Clip, EvaluationRow, Heartbeat, RunProgress, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport
from shared.watch import Watch
from tests import stored
from tests.stored import GOLDEN_POLICY, read, releases
from tests.world import World

DOCUMENTS: dict[str, type[BaseModel]] = {
    r"cycles/head\.json": Head,
    r"cycles/\d+/state\.json": CycleState,
    r"cycles/\d+/spec\.json": TrainingSpec,
    r"cycles/\d+/declined\.json": Declined,
    r"cycles/\d+/watch\.json": Watch,
    r"cycles/\d+/policies/.*\.json": Policy,
    r"ledger/\d+/index\.json": Index,
    r"runs/\d+/result\.json": TrainingResult,
    r"runs/\d+/heartbeat\.json": Heartbeat,
    r"runs/\d+/progress\.json": RunProgress,
    r"verdicts/\d+/report\.json": ValidationReport,
    r"models/\d+/manifest\.json": ModelManifest,
    r"registry/production\.json": Production,
    r"registry/log/\d+\.json": Move,
    r"corpora/suites/[^/]+/suite\.json": SuiteInfo,
    r"corpora/resolved/\d+\.json": Resolved,
    r"corpora/forgotten/digests/.*\.json": Redaction,
    r"corpora/forgotten/[^/]+\.json": Forgotten,
}
LINES: dict[str, type[BaseModel]] = {
    r"cycles/\d+/dataset\.jsonl": Row,
    r"cycles/\d+/told\.jsonl": Told,
    r"cycles/\d+/clips/.*\.jsonl": Clip,
    r"runs/\d+/evaluation/.*\.jsonl": EvaluationRow,
    r"runs/\d+/gold\.jsonl": GoldRecord,
    r"verdicts/\d+/closure\.jsonl": Closed,
    r"corpora/holdout/\d+\.jsonl": Clip,
    r"corpora/(memory|replay)/manifest\.jsonl": CorpusClip,
    r"corpora/suites/.*\.jsonl": CorpusClip,
}
NOT_YET: dict[str, set[type[BaseModel]]] = {"0.1.0": {RunProgress}}
"""What a release did not write, or its golden leaves out."""
BYTES = re.compile(r"corpora/(audio/.*|split_key)|models/\d+/model\.safetensors|ledger/\d+/(segment|part)-.*")

every_release = pytest.mark.parametrize("release", releases())


def same(was: Any, now: Any) -> bool:
    """Tell whether a value still says all that it said; what a newer release adds beside it does not matter."""
    if isinstance(was, dict) and isinstance(now, dict):
        return all(name in now and same(value, now[name]) for name, value in was.items())
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(same(one, other) for one, other in zip(was, now, strict=True))
    return bool(was == now)


def kind_of(key: str, table: dict[str, type[BaseModel]]) -> type[BaseModel] | None:
    return next((cls for pattern, cls in table.items() if re.fullmatch(pattern, key)), None)


def test_there_are_goldens() -> None:
    assert "0.1.0" in releases()


def test_a_value_that_is_lost_or_changed_is_not_the_same() -> None:
    assert same({"a": [1, {"b": None}]}, {"a": [1, {"b": None, "new": 3}], "c": 1})
    assert not same({"a": 1}, {})
    assert not same({"a": [1, 2]}, {"a": [1]})
    assert not same({"a": {"b": 1}}, {"a": {"b": 2}})


@every_release
def test_every_stored_document_parses_and_says_the_same(release: str) -> None:
    assert check(read(release)) >= {*DOCUMENTS.values(), *LINES.values()} - NOT_YET.get(release, set())


def test_the_next_golden_will_hold_every_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "STORED", tmp_path)
    stored.write("next")
    assert check(read("next")) >= {*DOCUMENTS.values(), *LINES.values()}


def check(store: MemoryStore) -> set[type[BaseModel] | None]:
    """Look whether every document parses and says the same; return the kinds that were met."""
    met = set()
    for info in store.list(""):
        data, document, lines = store.get(info.key).data, kind_of(info.key, DOCUMENTS), kind_of(info.key, LINES)
        if document is not None:
            now = parse_document(document, data, what=info.key).model_dump(mode="json")
            assert same(json.loads(data), now), info.key
        elif lines is not None:
            rows = parse_lines(lines, data, what=info.key)
            for was, row in zip(data.splitlines(), rows, strict=True):
                assert same(json.loads(was), row.model_dump(mode="json")), info.key
        else:
            assert BYTES.fullmatch(info.key), f"{info.key}: expected a document that a golden test reads"
        met.add(document or lines)
    return met


@every_release
def test_every_stored_event_parses_and_says_the_same(release: str) -> None:
    store = read(release)
    types = set()
    for info in store.list("ledger/"):
        if not info.key.endswith(".jsonl"):
            continue
        for line in store.get(info.key).data.splitlines():
            event = parse_stored(line)
            types.add(type(event).__name__)
            assert same(json.loads(line), event.model_dump(mode="json"))
        if TOTALS in info.metadata:
            assert same(json.loads(info.metadata[TOTALS]), Totals.model_validate_json(info.metadata[TOTALS]).model_dump(mode="json"))
    assert types == {"SttError", "SttCorrection", "SttTraffic", "SttSample"}


def world_on(store: MemoryStore) -> World:
    made = World(GOLDEN_POLICY, store=store)
    made.record_calls(range(200))
    return made


def test_what_0_1_0_stored_means_what_it_meant() -> None:
    made = world_on(read("0.1.0"))
    assert [str(made.state(cycle).status) for cycle in (1, 2, 3, 4)] == ["deployed", "inconclusive", "rolled_back", "preparing"]
    assert [str(entry.status) for entry in made.state(3).history] == [
        "preparing",
        "training",
        "validating",
        "accepted",
        "canary",
        "deployed",
        "rolled_back",
    ]
    assert (made.state(4).forced, made.state(4).attempt, made.state(4).history[0].by) == (True, 1, "ana (claimed)")
    alias = made.production()
    assert (alias.stable, alias.canary, alias.previous, alias.withdrawn, alias.pinned) == (1, None, (0,), (3,), (1,))
    assert [move.kind for move in alias.moves] == ["promote", "canary", "promote", "canary", "promote", "rollback", "pin"]
    assert [move.override for move in alias.moves][:2] == [True, False]
    totals = ledger.count(made.store, 5)
    assert (totals.errors, totals.samples, totals.corrections, totals.utterances_by_version) == (2, 1, 1, {1: 500})
    assert {event.event_id for event in ledger.read_events(made.store, 5)} == {"e90", "e92", "p91", "c25", "t1"}
    rows = parse_lines(Row, made.store.get(keys.dataset(3)).data, what="dataset")
    assert {row.origin for row in rows} == {"fresh", "carried"}
    assert {row.split for row in rows if row.usable} == {"train", "dev", "holdout"}
    spec = parse_document(TrainingSpec, made.store.get(keys.spec(3)).data, what="spec")
    assert (spec.base.version, spec.cycle) == (1, 3)
    assert spec.policy is not None
    assert sha256_hex(made.store.get(spec.policy.key).data) == spec.policy.sha256
    assert parse_document(Policy, made.store.get(spec.policy.key).data, what="policy") == GOLDEN_POLICY
    report = parse_document(ValidationReport, made.store.get(keys.report(3)).data, what="report")
    assert (report.outcome, report.verdict, report.base_version) == ("accepted", "PASS", 1)


@every_release
def test_a_bucket_of_an_earlier_release_is_clean(release: str) -> None:
    assert fsck(read(release), full=True).findings == ()


@every_release
def test_every_golden_is_an_object_that_the_product_writes(release: str) -> None:
    assert [info.key for info in read(release).list("") if not KNOWN.fullmatch(info.key)] == []


@every_release
def test_the_system_goes_on_from_what_an_earlier_release_left(release: str) -> None:
    made = world_on(read(release))
    head = read_head(made.store)
    made.clock.advance(86_400)
    made.tick(1000)
    made.tick(1000)
    assert made.train(head - 1) == "completed"
    for _ in range(4):
        made.tick(601)
    assert made.state(head - 1).status == Status.DEPLOYED
    made.publish(*(builders.error(n) for n in range(100, 112)))
    made.settle()
    assert made.state(head).status == Status.PREPARING
    assert fsck(made.store, full=True).findings == ()


def test_a_golden_is_never_written_again() -> None:
    with pytest.raises(FileExistsError):
        stored.write("0.1.0")
