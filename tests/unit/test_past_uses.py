"""What earlier datasets say of who was trained on and who judged."""

from functions.launcher.facts import read_facts
from functions.launcher.history import Corpora, past_uses
from shared import keys
from shared.dataset import Row
from shared.documents import lines_bytes
from shared.line_objects import get_lines, lines_of
from shared.splits import History, cluster_of
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore

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
    datasets = [get_lines(store, keys.dataset(number), lines_of(Row, what="dataset")) for number in (1, 2)]
    return past_uses(list(read_facts(store, key, 3, datasets, settled=0)), NOBODY, lambda _: "train")


def test_what_two_datasets_say_is_known_of_their_speakers() -> None:
    found = asked(bucket())
    assert found.splits[cluster_of(KEY, speaker="speaker:s1")] == {"train"}
    assert found.splits[cluster_of(KEY, speaker="speaker:s2")] == {"holdout"}


def test_another_key_and_another_dataset_say_something_else() -> None:
    store = bucket()
    asked(store)
    other = asked(store, b"another key")
    assert other.splits.keys().isdisjoint(asked(store).splits.keys())
    store.put(keys.dataset(1), lines_bytes([row(3, "dev")]))
    assert cluster_of(KEY, speaker="speaker:s1") not in asked(store).splits
    assert asked(store).splits[cluster_of(KEY, speaker="speaker:s3")] == {"dev"}
