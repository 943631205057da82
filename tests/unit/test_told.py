"""What corpora told of recordings outlives them."""

import pytest

from functions.launcher.past import read_past
from functions.launcher.seal import read_split_key
from functions.launcher.window import read_window
from shared import keys
from shared.corpora import CorpusClip
from shared.dataset import Row
from shared.documents import lines_bytes, parse_lines
from shared.errors import CorruptObject
from shared.splits import cluster_of, member
from shared.testing.builders import error, pin
from shared.told import news, parse_told, told_bytes
from tests.faults import Killed
from tests.world import POLICY, World

KEY = b"key"


ONE = member(KEY, utterance_id="u1", audio=pin(1), speaker="speaker:ana")
OTHER = member(KEY, utterance_id="u2", audio=pin(2), speaker="speaker:ben")


def test_what_was_told_comes_back_whatever_the_order_it_was_told_in() -> None:
    data = told_bytes([ONE, OTHER])
    assert data == told_bytes([OTHER, ONE, ONE])
    assert {(each.recording, each.company) for each in parse_told(data, what="told")} == {
        (each.recording, each.company) for each in (ONE, OTHER)
    }


def test_only_keyed_hashes_are_kept() -> None:
    assert not any(name in told_bytes([ONE, OTHER]) for name in (b"ana", b"ben", b"u1"))


def test_what_is_kept_already_is_no_news() -> None:
    kept = parse_told(told_bytes([ONE]), what="told")
    assert news([ONE, OTHER], kept) == [OTHER]


def test_a_line_that_tells_something_else_is_named() -> None:
    with pytest.raises(CorruptObject, match=r"cycles/000001/told\.jsonl"):
        parse_told(b'{"speaker": "ana"}\n', what="cycles/000001/told.jsonl")


def test_a_seal_that_died_goes_on_with_what_it_was_told_though_the_corpus_has_forgotten_it() -> None:
    world = World(POLICY.model_copy(update={"min_error_cases": 10_000, "holdout_share": 0.4, "dev_share": 0.2}))
    world.install_model()
    world.record_calls([0, 5])
    clip = CorpusClip(utterance_id="replay-0", audio=pin(0), reference="fall back", speaker="speaker:ben")
    world.store.put(keys.REPLAY, lines_bytes([clip]))
    world.publish(error(0, event_id="e0", speaker_id=None), error(5, event_id="e5", speaker_id="eva"))
    deaths: list[str] = []

    def die(operation: str, key: str) -> None:
        if operation == "put" and key == keys.told(1) and not deaths:
            deaths.append(key)
            world.store.put(keys.REPLAY, b"")
            raise Killed("dead")

    world.store.after = die
    world.type("finetune-triggers", '{"force": true}')
    world.settle()
    world.clock.advance(10)  # the message is delivered again
    world.settle()
    assert deaths == [keys.told(1)]
    hashed = cluster_of(read_split_key(world.ports), speaker="speaker:ben")
    (kept,) = parse_told(world.store.get(keys.told(1)).data, what="told")
    assert hashed in kept.company
    history = read_past(world.ports, read_window(world.ports, 2), read_split_key(world.ports)).whole
    rows = {row.event_id: row for row in parse_lines(Row, world.store.get(keys.dataset(1)).data, what="dataset")}
    assert rows["e0"].split is not None
    assert history.splits[hashed] == frozenset({rows["e0"].split}), "who was told of it stays on its side"
