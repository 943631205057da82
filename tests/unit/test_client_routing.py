"""What the client makes of an alias, a manifest and a session, without a store."""

import json

import pytest
from retune_client.errors import InvalidDocumentError
from retune_client.moves import seq_of
from retune_client.registry import Alias, Canary, parse_alias, parse_manifest
from retune_client.routing import Routing, Served, bucket, kept_on_disk, pick, route


def test_the_next_canary_meets_other_sessions() -> None:
    sessions = [f"call-{number}" for number in range(10_000)]
    first, second = ({session for session in sessions if bucket(session, version) < 10} for version in (2, 3))
    # independent draws share 10,000 x 0.01 = 100, standard deviation 10, four are 40
    assert abs(len(first & second) - 100) <= 40


def test_the_buckets_are_those_of_hash_version_one() -> None:
    assert [bucket(session, 12) for session in ("call-1", "call-2", "çå†", "")] == [63, 16, 36, 72]  # b2sum -l 64, modulo 100


@pytest.mark.parametrize(("data", "seq"), [(b'{"seq": 4}', 4), (b'{"seq": true}', None), (b"[4]", None), (b"4", None), (b"", None)])
def test_the_seq_of_a_move_is_known_where_it_tells_a_whole_number(data: bytes, seq: int | None) -> None:
    assert seq_of(data) == seq


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"stable": 1}, "seq: expected a whole number"),
        ({"seq": 1, "stable": "1"}, "stable: expected a whole number"),
        ({"seq": 1, "stable": -1}, "stable: expected a whole number"),
        ({"seq": True}, "seq: expected a whole number"),
        ({"seq": 1, "canary": 3}, "canary: expected an object or null"),
        ({"seq": 1, "canary": {"version": 3}}, "canary.percent: expected a whole number"),
        ({"seq": 1, "canary": {"version": 3, "percent": 101}}, "canary.percent: expected at most 100"),
        ({"seq": 1, "previous": 3}, "previous: expected a list"),
        ([], "expected a JSON object"),
    ],
)
def test_an_alias_that_is_not_understood_is_refused(document: object, problem: str) -> None:
    with pytest.raises(InvalidDocumentError, match=problem):
        parse_alias(json.dumps(document).encode())


def test_an_alias_of_a_later_release_is_understood() -> None:
    document = {
        "v": 2,
        "seq": 3,
        "stable": 11,
        "canary": {"version": 12, "percent": 10, "since": "x", "new": 1},
        "previous": [9],
        "new": {},
    }
    assert parse_alias(json.dumps(document).encode()) == Alias(3, 11, Canary(12, 10), (9,))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "../weights"}, "expected a plain file name"),
        ({"name": ".."}, "expected a plain file name"),
        ({"name": "a\n"}, "expected a plain file name"),
        ({"name": ".hidden"}, "expected a plain file name"),
        ({"stored_name": "../000001/weights"}, "expected a plain stored_name"),
        ({"stored_name": "/weights"}, "expected a plain stored_name"),
        ({"stored_name": 3}, "expected a plain stored_name"),
        ({"sha256": "0" * 63}, "expected a sha256"),
        ({"crc32c": "AAAA"}, "expected a crc32c"),
        ({"crc32c": None}, "expected a crc32c"),
        ({"name": "weights.bin"}, r"expected only \['.json', '.safetensors', '.txt'\] files, found 'weights.bin'"),
        ({"name": "model"}, "expected only"),
        ({"name": "model.safetensors.pkl"}, "expected only"),
        ({"size_bytes": -1}, "expected a whole number"),
        ({"name": "manifest.json"}, "expected each name once and none called manifest"),
        ({"name": "b.txt"}, "expected each name once"),
    ],
)
def test_a_manifest_that_names_a_file_outside_its_folder_or_twice_is_refused(change: dict[str, object], problem: str) -> None:
    file = {"name": "a.txt", "sha256": "0" * 64, "crc32c": "AAAAAA==", "size_bytes": 0}
    document = {"version": 1, "files": [{**file, **change}, {**file, "name": "b.txt"}]}
    with pytest.raises(InvalidDocumentError, match=problem):
        parse_manifest(json.dumps(document).encode(), 1)


ONE, TWO = Served(1, "one"), Served(2, "two")


def test_what_is_loaded_serves_and_what_is_not_leaves_the_stable_model_in_its_place() -> None:
    empty: Routing[str] = Routing()
    assert route(Alias(1, 1), {}, empty) == empty
    assert route(Alias(1, 1), {1: ONE}, empty) == Routing(ONE)
    assert route(Alias(2, 2), {1: ONE}, Routing(ONE)) == Routing(ONE)
    assert route(Alias(2, 2), {1: ONE, 2: TWO}, Routing(ONE)) == Routing(TWO)
    assert route(Alias(2, 1, Canary(2, 10)), {1: ONE, 2: TWO}, Routing(ONE)) == Routing(ONE, TWO, 10)
    assert route(Alias(3, 1), {1: ONE, 2: TWO}, Routing(ONE, TWO, 10)) == Routing(ONE)
    # a canary alone serves nobody: the others would have no model
    assert route(Alias(1, 1, Canary(2, 10)), {2: TWO}, empty) == empty
    assert pick(empty, "anyone") is None
    assert kept_on_disk(Alias(3, 5, Canary(6, 1), (4, 3, 2)), Routing(ONE)) == {1, 3, 4, 5, 6}
