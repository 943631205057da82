"""What earlier datasets say is read once for each of them, and is the same however often it is asked for."""

import pytest

from functions.launcher import facts
from functions.launcher.facts import read_facts
from functions.launcher.history import Corpora, past_uses
from shared import keys
from shared.dataset import Row
from shared.splits import History, cluster_of
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore
from shared.training import lines_bytes

KEY = b"a key that tests share"
NOBODY = Corpora(suites=(), replay=())


def row(number: int, split: str) -> Row:
    return Row.model_validate(
        {
            "event_id": f"e{number}",
            "kind": "error",
            "origin": "fresh",
            "occurred_at": START,
            "utterance_id": f"u{number}",
            "audio": builders.pin(number),
            "speaker": f"speaker:s{number}",
            "reference": "a secret",
            "split": split,
        }
    )


def bucket() -> MemoryStore:
    store = MemoryStore()
    store.put(keys.dataset(1), lines_bytes([row(1, "train")]))
    store.put(keys.dataset(2), lines_bytes([row(2, "holdout")]))
    return store


def asked(store: MemoryStore, key: bytes = KEY) -> History:
    datasets = [store.get(keys.dataset(number)) for number in (1, 2)]
    return past_uses(read_facts(store, key, 3, datasets, settled=0), NOBODY, lambda _: "train")


@pytest.mark.parametrize("kept", [1, 2, 256])
def test_however_much_is_kept_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(facts, "KEPT_ROWS", kept)
    monkeypatch.setattr(facts, "_kept", {})
    store = bucket()
    first = asked(store)
    assert first.splits[cluster_of(KEY, speaker="speaker:s1")] == {"train"}
    assert first.splits[cluster_of(KEY, speaker="speaker:s2")] == {"holdout"}
    assert asked(store) == first
    assert len(facts._kept) == min(kept, 2)
    assert "secret" not in str(facts._kept)


def test_another_key_and_another_dataset_are_not_taken_for_the_kept_ones() -> None:
    store = bucket()
    asked(store)
    other = asked(store, b"another key")
    assert other.splits.keys().isdisjoint(asked(store).splits.keys())
    store.put(keys.dataset(1), lines_bytes([row(3, "dev")]))
    assert cluster_of(KEY, speaker="speaker:s1") not in asked(store).splits
    assert asked(store).splits[cluster_of(KEY, speaker="speaker:s3")] == {"dev"}
