"""What a release leaves in a bucket, kept as goldens: `python -m tests.stored 0.1.0` writes tests/data/stored/0.1.0/ once.

A golden is what an earlier release wrote: it is never written again, whatever the code has become since. A new release adds a folder.
"""

import json
import sys
from pathlib import Path

from infra.forget.command import forget
from shared import keys
from shared.cas import find
from shared.compaction import compact
from shared.corpora import CorpusClip, replace_corpus
from shared.documents import document_bytes, lines_bytes
from shared.gold import AcousticScores, GoldRecord
from shared.objectstore import ABSENT
from shared.policy import CanaryPolicy
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from shared.totals import TOTALS
from shared.training import EpochFigures, Heartbeat, RunProgress
from tests.world import BUCKET, POLICY, World, wrong

STORED = Path(__file__).parent / "data" / "stored"
METADATA = "metadata.json"
NOT_KEPT = ("verdicts/", ".html")
CANARY = CanaryPolicy(percent=10, session_s=0, min_duration_s=0, max_duration_s=600, min_utterances=1, on_silence="promote", guard_s=0)
GOLDEN_POLICY = POLICY.model_copy(update={"min_error_cases": 12, "holdout_share": 0.5, "canary": CANARY})


def write(release: str) -> None:
    """Write the goldens of a release.

    Raises:
        FileExistsError: they are there: what was written then stays what it is.
    """
    folder = STORED / release
    folder.mkdir(parents=True)
    store = history().store
    metadata = {}
    for info in store.list(""):
        if info.key.startswith(NOT_KEPT[0]) and info.key.endswith(NOT_KEPT[1]):
            continue
        path = folder / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(info.key).data)
        kept = {name: value for name, value in info.metadata.items() if name == TOTALS}
        if kept:
            metadata[info.key] = kept
    (folder / METADATA).write_text(json.dumps(metadata, indent=1))


def read(release: str) -> MemoryStore:
    """Return a store that holds what a release left."""
    folder = STORED / release
    metadata = json.loads((folder / METADATA).read_text())
    store = MemoryStore(BUCKET)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != METADATA):
        key = path.relative_to(folder).as_posix()
        store.put(key, path.read_bytes(), metadata=metadata.get(key))
    return store


def releases() -> list[str]:
    """Return the releases that have goldens, the oldest first."""
    return sorted(path.name for path in STORED.iterdir())


def history() -> World:
    """Return a world in which v1 was promoted after a canary, v2 found no better, v3 rolled back by a person, cycle 4 prepares and 5 collects.

    Somebody was forgotten, a trigger was declined, and the open ledger has a part and a segment.
    """
    made = World(GOLDEN_POLICY)
    made.install_model()
    made.record_calls(range(200))
    trusted = CorpusClip(utterance_id="u190", audio=builders.pin(190), reference="fall back", speaker="speaker:s190")
    replace_corpus(made.store, keys.REPLAY, [trusted], ABSENT)
    for cycle in (1, 2, 3):
        numbers = range(20 * cycle, 20 * cycle + 12)
        made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), builders.error(numbers[0], reference=None))
        made.publish(*(builders.error(n, device="phone", noise="high") for n in numbers[1:]))
        made.settle()
        beat = Heartbeat(cycle=cycle, attempt=1, at=made.clock.now(), phase="training", done=3, total=9)
        made.store.put(keys.heartbeat(cycle), document_bytes(beat))
        told = RunProgress(**dict(beat), left_s=60.0, loss=0.7, epochs=(EpochFigures(epoch=1, loss=0.9, dev_errors_wer=0.4),))
        made.store.put(keys.progress(cycle), document_bytes(told))
        made.train(cycle, **({"candidate": wrong} if cycle == 2 else {}))
        made.settle()
        made.tick(601)
        made.tick(601)
    made.type("model-commands", '{"rollback": 3, "reason": "drops endings", "by": "ana"}')
    made.settle()
    scores = AcousticScores(margin=-0.1, worst_word=-0.2, worst_gap=0.0, cer=0.1)
    gold = GoldRecord(
        utterance_id="u60", decision="accepted", text="fall back", model="m", samples=("fall back",), agreement=1.0, scores=scores
    )
    made.store.put(keys.gold(3), lines_bytes([gold]))
    forget(made.ports, "speaker", "s25", by="ana")
    made.type("finetune-triggers", '{"force": true, "by": "ana"}')
    made.settle()
    made.publish(builders.error(90, reference=None), builders.correction(25), builders.traffic(1, 500, version=1))
    made.settle()
    made.publish(builders.sample(91))
    made.settle()
    compact(made.store, 5)
    made.publish(builders.error(92))
    made.settle()
    made.type("model-commands", '{"pin": 1, "by": "ana"}')
    made.type("finetune-triggers", '{"force": true, "by": "ana"}')
    made.settle()
    assert find(made.store, keys.declined(5)) is not None
    return made


if __name__ == "__main__":
    write(sys.argv[1])
