"""What every object store must do; the same tests run against all of them."""

import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from infra.local.gcs_server import GcsServer
from shared.dir_store import DirStore
from shared.errors import Conflict, CorruptObject, InvalidMessage, NotFound
from shared.gcs_store import GcsStore
from shared.objectstore import ABSENT, Generation, ObjectStore, crc32c_base64
from shared.stores import open_store, split_uri
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore

ROOT = Path(__file__).parents[2]

AWKWARD = [
    " leading space",
    "%2F",
    "../escape",
    ".hidden",
    "A",
    "a",
    "a!",
    "a//b",
    "a/b",
    "a0",
    "a@",
    "a@@/b",
    "dot/../x",
    "dot/.",
    "emoji \N{GRINNING FACE}",
    "folder/",
    "question?mark&amp=1#fragment+plus~tilde",
    "quote's (brackets)*!\"",
    "long/" + "x" * 900,
    "long/" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 400 + "/" + "." * 150,
    "long/" + "y" * 199 + "../z",
    "long/" + "y" * 199 + "Z",
    "long/" + "y" * 200,
    "long/" + "y" * 200 + "/a",
    "long/" + "y" * 201,
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "e\N{COMBINING ACUTE ACCENT}",
]


@dataclass(frozen=True)
class Case:
    """A store under test, and a quicker way to fill it."""

    store: ObjectStore
    fill: ObjectStore


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, storage.Client]]:
    root = tmp_path_factory.mktemp("gcs")
    with GcsServer(root) as server:
        client = storage.Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url})
        yield root, client
        client.close()


@pytest.fixture(params=["memory", "dir", "gcs"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param == "memory":
        store = MemoryStore()
        return Case(store, store)
    if request.param == "dir":
        return Case(DirStore(tmp_path / "store"), DirStore(tmp_path / "store"))
    root, client = request.getfixturevalue("gcs")
    bucket = f"b-{uuid4().hex}"
    (root / bucket).mkdir()
    return Case(GcsStore(bucket, client), DirStore(root / bucket))


@pytest.fixture
def store(case: Case) -> ObjectStore:
    return case.store


def together(threads: int, work: Callable[[int], object]) -> list[object]:
    """Run `work` in threads that start at once and return the results, or raise the first error."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(run, number) for number in range(threads)]]


def keys(store: ObjectStore, prefix: str = "", start_after: str | None = None) -> list[str]:
    return [info.key for info in store.list(prefix, start_after=start_after)]


# Writing


def test_what_was_put_is_what_is_got(store: ObjectStore) -> None:
    info = store.put("a/b.json", b"{}", metadata={"write_id": "w-1", "naïve": "\N{SNOWMAN}"}, content_type="application/json")
    assert (info.key, info.size_bytes, info.crc32c) == ("a/b.json", 2, crc32c_base64(b"{}"))
    assert info.metadata == {"write_id": "w-1", "naïve": "\N{SNOWMAN}"}
    assert info.content_type == "application/json"
    assert info.updated.utcoffset() == timedelta(0)
    assert info.generation > 0
    found = store.get("a/b.json")
    assert found.data == b"{}"
    assert found.info == info == store.stat("a/b.json") == next(store.list("a/b"))


def test_an_overwrite_replaces_data_metadata_and_content_type(store: ObjectStore) -> None:
    store.put("k", b"one", metadata={"a": "1"}, content_type="text/plain")
    store.put("k", b"")
    found = store.get("k")
    assert (found.data, found.info.metadata, found.info.content_type) == (b"", {}, "application/octet-stream")
    assert found.info.crc32c == "AAAAAA=="


def test_create_if_absent_has_one_winner(store: ObjectStore) -> None:
    def create(number: int) -> object:
        try:
            return store.put("prize", b"%d" % number, if_generation_match=ABSENT).generation
        except Conflict:
            return None

    winners = [(number, generation) for number, generation in enumerate(together(16, create)) if generation]
    assert len(winners) == 1
    found = store.get("prize")
    assert (int(found.data), found.info.generation) == winners[0]


def test_a_counter_under_compare_and_swap_loses_no_increment(store: ObjectStore) -> None:
    store.put("counter", b"0")

    def increment(_: int) -> None:
        done = 0
        while done < 5:
            found = store.get("counter")
            try:
                store.put("counter", b"%d" % (int(found.data) + 1), if_generation_match=found.info.generation)
            except Conflict:
                continue
            done += 1

    together(4, increment)
    assert store.get("counter").data == b"20"


def test_generations_increase_over_overwrites_and_deletes(store: ObjectStore) -> None:
    generations = [store.put("k", b"1").generation, store.put("k", b"1").generation]
    store.delete("k")
    generations.append(store.put("k", b"1", if_generation_match=ABSENT).generation)
    store.delete("k", if_generation_match=generations[-1])
    generations.append(store.put("k", b"1").generation)
    assert all(earlier < later for earlier, later in pairwise(generations))


def test_a_stale_generation_is_a_conflict_and_changes_nothing(store: ObjectStore) -> None:
    first = store.put("k", b"first")
    second = store.put("k", b"second", if_generation_match=first.generation)
    for stale in (first.generation, ABSENT, Generation(second.generation + 1)):
        with pytest.raises(Conflict):
            store.put("k", b"lost", if_generation_match=stale)
        with pytest.raises(Conflict):
            store.delete("k", if_generation_match=stale)
    assert store.get("k").data == b"second"


def test_a_replacement_of_what_is_gone_is_a_conflict(store: ObjectStore) -> None:
    gone = store.put("k", b"1")
    store.delete("k")
    with pytest.raises(Conflict):
        store.put("k", b"2", if_generation_match=gone.generation)
    assert keys(store) == []


def test_deleting_what_is_gone_is_no_error(store: ObjectStore) -> None:
    store.delete("never/was")
    info = store.put("a/b/c", b"1")
    store.delete("a/b/c", if_generation_match=info.generation)
    store.delete("a/b/c", if_generation_match=info.generation)
    store.delete("a/b/c")
    assert keys(store) == []


@pytest.mark.parametrize("key", ["", ".", "..", "line\nbreak", "carriage\rreturn", "nul\0", "x" * 1025])
def test_an_illegal_name_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidMessage):
        store.put(key, b"")


# Reading


def test_what_is_absent_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    for read in (store.get, store.stat, lambda key: store.get_to_file(key, tmp_path / "target")):
        with pytest.raises(NotFound):
            read("absent")
    assert not (tmp_path / "target").exists()


def test_a_generation_is_read_only_while_it_is_the_present_one(store: ObjectStore, tmp_path: Path) -> None:
    old = store.put("k", b"old")
    assert store.get("k", generation=old.generation).data == b"old"
    new = store.put("k", b"new")
    with pytest.raises(NotFound):
        store.get("k", generation=old.generation)
    with pytest.raises(NotFound):
        store.get_to_file("k", tmp_path / "target", generation=old.generation)
    assert store.get_to_file("k", tmp_path / "target", generation=new.generation) == new
    assert [path.name for path in tmp_path.glob("*") if path.is_file()] == ["target"]


def test_data_and_description_are_of_one_generation(store: ObjectStore) -> None:
    store.put("k", b"0", metadata={"n": "0"})
    done = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            for n in range(1, 40):
                store.put("k", b"%d" % n * 3000, metadata={"n": str(n)})
            done.set()
        while not done.is_set():
            found = store.get("k")
            assert found.data == found.info.metadata["n"].encode() * (3000 if found.info.metadata["n"] != "0" else 1)

    together(3, work)


def test_files_of_any_size_go_there_and_back(store: ObjectStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * (9 << 12)  # 9 MiB: the client uploads it in several requests
    (tmp_path / "source").write_bytes(data)
    info = store.put_file("big", tmp_path / "source", if_generation_match=ABSENT, metadata={"sha": "1"})
    assert (info.size_bytes, info.crc32c, info.metadata) == (len(data), crc32c_base64(data), {"sha": "1"})
    (tmp_path / "target").write_bytes(b"earlier")
    assert store.get_to_file("big", tmp_path / "target") == info
    assert (tmp_path / "target").read_bytes() == data
    with pytest.raises(Conflict):
        store.put_file("big", tmp_path / "source", if_generation_match=ABSENT)
    (tmp_path / "source").write_bytes(b"")
    assert store.put_file("big", tmp_path / "source", if_generation_match=info.generation).size_bytes == 0
    assert store.get("big").data == b""


# Listing


def test_a_listing_is_in_utf8_order_under_its_prefix(store: ObjectStore) -> None:
    names = ["a", "a!", "a/1", "a/2/x", "a0", "b/1", "\N{FULLWIDTH LATIN SMALL LETTER A}", "\N{GRINNING FACE}"]
    for name in reversed(names):
        store.put(name, b"")
    assert keys(store) == names  # U+FF41 before U+1F600: by UTF-8 bytes, not by UTF-16 units
    assert keys(store, "a/") == ["a/1", "a/2/x"]
    assert keys(store, "a") == ["a", "a!", "a/1", "a/2/x", "a0"]
    assert keys(store, "a/2/x") == ["a/2/x"]
    assert keys(store, "c") == keys(store, "a/2/x/") == []


def test_a_listing_goes_on_after_a_key(store: ObjectStore) -> None:
    for name in ("a/1", "a/1!", "a/2", "a/2/b", "b"):
        store.put(name, b"")
    assert keys(store, "a/", "a/1") == ["a/1!", "a/2", "a/2/b"]
    assert keys(store, "a/", "a/15") == ["a/2", "a/2/b"]
    assert keys(store, "", "a/2/b") == ["b"]
    assert keys(store, "a/", "a/2/b") == keys(store, "a/", "b") == []
    assert keys(store, "b", "a") == ["b"]


def test_a_listing_has_more_than_one_page(case: Case) -> None:
    names = [f"ledger/000001/segment-{number:06d}.jsonl" for number in range(1201)]
    for name in names:
        case.fill.put(name, b"x", metadata={"errors": "1"})
    listed = list(case.store.list("ledger/000001/"))
    assert [info.key for info in listed] == names
    assert {info.metadata["errors"] for info in listed} == {"1"}
    assert keys(case.store, "ledger/", names[99]) == names[100:]


def test_awkward_keys_stay_themselves(store: ObjectStore) -> None:
    for key in AWKWARD:
        store.put(key, key.encode(), if_generation_match=ABSENT)
    assert keys(store) == sorted(AWKWARD, key=str.encode)
    assert [store.get(key).data.decode() for key in AWKWARD] == AWKWARD
    for prefix in ("long/", "long/" + "y" * 200, "a", "dot/", "a//", "emoji ", "long/" + "y" * 150):
        assert keys(store, prefix) == sorted((key for key in AWKWARD if key.startswith(prefix)), key=str.encode)
    for start_after in AWKWARD:
        assert keys(store, "", start_after) == sorted((key for key in AWKWARD if key.encode() > start_after.encode()), key=str.encode)
    for key in AWKWARD:
        store.delete(key)
    assert keys(store) == []


# DirStore alone

INCREMENT = """
    import sys
    from pathlib import Path
    from shared.dir_store import DirStore
    from shared.errors import Conflict

    store, done = DirStore(Path(sys.argv[1])), 0
    while done < 25:
        found = store.get("counter")
        try:
            store.put("counter", b"%d" % (int(found.data) + 1), if_generation_match=found.info.generation)
        except Conflict:
            continue
        done += 1
"""

WRITE_FOR_EVER = """
    import sys
    from pathlib import Path
    from shared.dir_store import DirStore

    store, n = DirStore(Path(sys.argv[1])), 0
    while True:
        n += 1
        store.put("k", b"%d" % n * 20000, metadata={"n": str(n)})
        store.put(f"segments/{n}", b"")
        print(n, flush=True)
"""


def start(program: str, root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(root)], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_processes_lose_no_increment(tmp_path: Path) -> None:
    store = DirStore(tmp_path)
    store.put("counter", b"0")
    processes = [start(INCREMENT, tmp_path) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert store.get("counter").data == b"75"


@pytest.mark.parametrize("lines", [1, 50, 301])
def test_a_writer_killed_anywhere_leaves_whole_objects(tmp_path: Path, lines: int) -> None:
    with start(WRITE_FOR_EVER, tmp_path) as process:
        assert process.stdout
        for _ in range(lines):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    store = DirStore(tmp_path)
    found = store.get("k")
    number = int(found.info.metadata["n"])
    assert number >= told
    assert found.data == b"%d" % number * 20000
    assert set(keys(store, "segments/")) >= {f"segments/{n}" for n in range(1, told + 1)}
    assert store.put("k", b"", if_generation_match=found.info.generation).generation > found.info.generation


def test_generations_increase_when_the_clock_goes_back(tmp_path: Path) -> None:
    clock = FakeClock()
    store = DirStore(tmp_path, clock)
    first = store.put("k", b"1")
    assert first.generation == int(clock.now().timestamp() * 1_000_000)
    store.delete("k")
    clock.advance(-3600)
    assert DirStore(tmp_path, clock).put("k", b"2").generation == first.generation + 1


def test_an_object_whose_file_was_changed_is_corrupt(tmp_path: Path) -> None:
    store = DirStore(tmp_path / "store")
    store.put("k", b"12345")
    (file,) = (tmp_path / "store" / "objects").iterdir()
    whole = file.read_bytes()
    for changed in (b"02345" + whole[5:], whole[1:], whole[:-1], b""):
        file.write_bytes(changed)
        with pytest.raises(CorruptObject):
            store.get("k")
        with pytest.raises(CorruptObject):
            store.get_to_file("k", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_description_longer_than_a_disk_block_is_kept(tmp_path: Path) -> None:
    metadata = {f"name-{n}": "\N{SNOWMAN}" * 40 for n in range(50)}
    assert DirStore(tmp_path).put("k", b"1", metadata=metadata) == DirStore(tmp_path).stat("k")
    assert DirStore(tmp_path).stat("k").metadata == metadata


def test_a_draft_left_by_a_killed_writer_goes_away(tmp_path: Path) -> None:
    clock = FakeClock()
    store = DirStore(tmp_path, clock)
    store.put("k", b"1")
    (tmp_path / "tmp" / "left").write_bytes(b"half")
    DirStore(tmp_path, clock)
    assert (tmp_path / "tmp" / "left").exists()
    clock.advance(timedelta(days=36500).total_seconds())
    DirStore(tmp_path, clock)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_is_not_ours_in_the_folder_is_not_listed(tmp_path: Path) -> None:
    store = DirStore(tmp_path)
    store.put("a/b", b"1")
    (tmp_path / "objects" / "a" / ".DS_Store").write_bytes(b"")
    assert keys(store) == ["a/b"]


# Addresses


def test_a_store_is_opened_by_its_own_address(tmp_path: Path) -> None:
    store = DirStore(tmp_path / "with space%")
    store.put("k", json.dumps({}).encode())
    assert open_store(store.uri).get("k").data == b"{}"
    assert open_store("gs://bucket").uri == "gs://bucket"
    assert split_uri("gs://bucket/a//b c?d#e") == ("gs://bucket", "a//b c?d#e")


@pytest.mark.parametrize(
    "uri", ["", "gs://", "gs://b/c", "gs://UPPER", "file://", "file:///", "file://host/x", "s3://b", "memory://x", "/tmp"]
)
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(InvalidMessage):
        open_store(uri)


@pytest.mark.parametrize("uri", ["gs://bucket", "gs://bucket/", "gs:///key", "file:///a/b", "gs://bucket/a\nb", "gs://bucket/.."])
def test_other_objects_are_refused(uri: str) -> None:
    with pytest.raises(InvalidMessage):
        split_uri(uri)


def test_a_local_store_needs_no_google_package(tmp_path: Path) -> None:
    program = "import sys; from shared.stores import open_store; open_store(sys.argv[1]).put('k', b''); print('google.cloud.storage' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, tmp_path.as_uri()], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
