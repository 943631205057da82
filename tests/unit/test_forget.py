"""A person is forgotten: nothing of theirs is left anywhere, everything else still counts, and the next cycle runs."""

import base64
import json
from collections.abc import Callable, Iterator

import pytest

from functions.deployer.evidence import check_evidence
from infra.errors import Refused
from infra.forget.command import ForgetReport, forget
from shared import keys, ledger
from shared.compaction import compact
from shared.corpora import CorpusClip, load_corpus
from shared.cycle import Status
from shared.dataset import Row
from shared.documents import document_bytes, lines_bytes, parse_lines, sha256_hex
from shared.forgotten import CODEC, Kind, Redaction, became, record_redaction
from shared.policy import SuitePolicy, ValidationPolicy
from shared.splits import cluster_of, split_of
from shared.suites import find_suite
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from tests.command_line import command_line
from tests.world import BUCKET, POLICY, World, right, wrong

KEY = b"a key that tests share"
NAMES_A_SUITE = POLICY.model_copy(update={"auto_deploy": False, "validation": ValidationPolicy(suites={"clean": SuitePolicy()})})
ENVELOPE = {"speaker_id": "", "hypothesis": "half of a message", "confidence": 7}


def speaker_in(split: str) -> str:
    """Return a speaker all of whose clips fall into a split."""
    names = (f"person-{n}" for n in range(1000))
    return next(name for name in names if split_of(cluster_of(KEY, speaker=f"speaker:{name}"), POLICY) == split)


TAUGHT, HELD = speaker_in("train"), speaker_in("holdout")


def corpus_clip(world: World, name: str, speaker: str) -> CorpusClip:
    """Return a clip whose audio is copied, spoken by somebody who says who they are."""
    data = f"recording {name}".encode()
    info = world.store.put(keys.audio(sha256_hex(data)), data)
    fields = {"generation": info.generation, "crc32c": info.crc32c, "size_bytes": info.size_bytes}
    pin = builders.pin(0).model_copy(update={"uri": f"{BUCKET}/{info.key}", **fields})
    return CorpusClip(utterance_id=name, audio=pin, reference=f"secret of {speaker}", speaker=f"speaker:{speaker}")


def lived_in(who: str) -> World:
    """Return a world after a cycle in which somebody spoke; they call again, and are in all corners of the store."""
    made = World(NAMES_A_SUITE)
    made.install_model()
    made.record_calls(range(400))
    others = [
        CorpusClip(utterance_id=f"c{n}", audio=builders.pin(n), reference="fall back", speaker=f"speaker:s{n}") for n in range(300, 320)
    ]
    # in a real bucket nobody is in both; here both must be emptied
    corpus, key = ("clean", keys.suite("clean")) if who == HELD else ("replay", keys.REPLAY)
    made.store.put(keys.suite("clean"), lines_bytes(others))
    made.store.put(
        key, lines_bytes([*(others if who == HELD else ()), corpus_clip(made, f"{corpus}/a", who), corpus_clip(made, f"{corpus}/b", "x")])
    )
    made.publish(*(builders.sample(n, sample_rate=1.0) for n in range(100, 160)))
    made.publish(*(builders.error(n) for n in range(59)))
    made.publish(builders.error(200, reference=None, speaker_id=who, session_id=f"call of {who}"))
    made.publish(builders.correction(200, reference=f"secret of {who}", by="ana", reason=f"heard secret of {who}"))
    made.publish(builders.sample(201, speaker_id=who, sample_rate=1.0, reference=f"secret of {who}", session_id=f"call of {who}"))
    made.settle()
    made.train(1, base=lambda clip: right(clip) if clip.stratum == "suite" else wrong(clip), candidate=right)
    made.settle()
    assert made.state(1).status == Status.ACCEPTED
    made.publish(builders.error(202, reference=f"secret of {who}", speaker_id=who, session_id="another call"), builders.error(60))
    made.settle()
    _leave_traces(made, who)
    return made


def _leave_traces(made: World, who: str) -> None:
    """Write what a trainer that asks for gold, and a function that refuses a message, would have written."""
    gold = {"utterance_id": "u200", "decision": "review", "provenance": "llm", "text": f"secret of {who}", "reason": "grey"}
    other = {**gold, "utterance_id": "u7", "text": "fall back"}
    made.store.put(keys.gold(1), "".join(json.dumps(line) + "\n" for line in (gold, other)).encode())
    made.store.put(f"{keys.GOLD_ANSWERS}0.json", json.dumps({"identity_sha256": "0" * 64, "text": f"secret of {who}"}).encode())
    for name in (who, "x"):
        encoded = base64.b64encode(json.dumps({**ENVELOPE, "speaker_id": name}).encode()).decode()
        document = {"reason": "unreadable", "body": json.dumps({"message": {"data": encoded}})}
        made.store.put(keys.quarantine("2026-01-01", f"collector-{name}"), json.dumps(document).encode())
    cut_off = {"reason": "cut off", "body": f'{{"speaker_id": "{who}", "hypothesis": "hal'}
    made.store.put(keys.quarantine("2026-01-01", "cut-off"), json.dumps(cut_off).encode())


def objects(store: MemoryStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).data for info in store.list("")}


def traces(store: MemoryStore, who: str) -> list[str]:
    """Return the objects in which the name, its keyed hash, an utterance or the voice can still be read."""
    wanted = [
        who,
        cluster_of(KEY, speaker=f"speaker:{who}"),
        '"u200"',
        '"u201"',
        '"u202"',
        "u200.wav",
        "u201.wav",
        "recording clean/a",
        "recording replay/a",
    ]
    return [
        key
        for key, data in objects(store).items()
        if not key.startswith(keys.FORGOTTEN) and (any(name.encode() in data for name in wanted) or key.endswith(who + ".json"))
    ]


def run(world: World, kind: Kind, identity: str, *, dry_run: bool = False) -> ForgetReport:
    return forget(world.ports, kind, identity, by="ana", dry_run=dry_run)


@pytest.fixture(scope="module")
def taught() -> World:
    return lived_in(TAUGHT)


@pytest.fixture(scope="module")
def held() -> World:
    return lived_in(HELD)


def copy_of(world: World) -> World:
    """Return another world with the same store; its bus is its own and empty."""
    made = World(NAMES_A_SUITE)
    made.clock.advance((world.clock.now() - made.clock.now()).total_seconds())
    for store, source in ((made.store, world.store), (made.calls, world.calls)):
        store._objects.clear()
        store._objects.update(source._objects)
        store._keys = list(source._keys)
        store._generation = source._generation
    return made


# what goes


def test_nothing_of_somebody_who_taught_a_model_is_left(taught: World) -> None:
    world = copy_of(taught)
    assert len(traces(world.store, TAUGHT)) >= 10
    done = run(world, "speaker", TAUGHT)
    assert traces(world.store, TAUGHT) == []
    assert done.removed == {
        "copied audio": 1,
        "cycle's clips": 3,
        "dataset": 3,
        "gold answers": 1,
        "ledger": 4,
        "quarantine": 2,
        "replay": 1,
        "run": 3,
        "what was told": 1,
    }
    assert [(model.version, model.live, model.cycles) for model in done.models] == [(1, False, (1,))]
    assert done.addresses == ("gs://calls/u200.wav", "gs://calls/u201.wav", "gs://calls/u202.wav")


def test_nothing_of_somebody_who_judged_is_left_and_no_model_is_blamed(held: World) -> None:
    world = copy_of(held)
    done = run(world, "speaker", HELD)
    assert traces(world.store, HELD) == []
    assert {"report", "holdout", "suite", "cycle's clips", "run", "copied audio"} <= set(done.removed)
    assert done.models == ()
    assert HELD not in world.store.get(keys.report_html(1)).data.decode()


def test_everybody_else_stays_to_the_byte(taught: World) -> None:
    world = copy_of(taught)
    run(world, "speaker", TAUGHT)
    before, after = objects(taught.store), objects(world.store)
    assert [clip.speaker for clip in load_corpus(world.store, keys.REPLAY).clips] == ["speaker:x"]
    for key in (keys.clips(1, "train-errors"), keys.clips(1, "train-replay"), keys.gold(1)):
        assert set(after[key].splitlines()) < set(before[key].splitlines())
    assert keys.quarantine("2026-01-01", "collector-x") in after
    same = {key for key in before if before[key] == after.get(key)}
    assert {keys.spec(1), keys.result(1), keys.report(1), keys.manifest(1), keys.suite("clean")} <= same


def test_what_was_consumed_stays_consumed_and_counted(taught: World) -> None:
    world = copy_of(taught)
    totals = ledger.count(world.store, 2)
    run(world, "speaker", TAUGHT)
    rows = [parse_lines(Row, made.store.get(keys.dataset(1)).data, what="dataset") for made in (taught, world)]
    assert [row.event_id for row in rows[0]] == [row.event_id for row in rows[1]]
    gone = {row.event_id: row for row in rows[1] if row.set_aside == "forgotten"}
    assert set(gone) == {"e200", "p201"}
    assert (gone["p201"].weight, gone["e200"].split, gone["e200"].usable, gone["e200"].unlabelled) == (1.0, "train", False, False)
    assert ledger.count(world.store, 2) == totals


def test_a_session_is_found_though_its_speaker_is_known(taught: World) -> None:
    world = copy_of(taught)
    done = run(world, "session", f"call of {TAUGHT}")
    left = objects(world.store)
    assert b'"u200"' not in b"".join(left.values())
    assert b'"u201"' not in b"".join(left.values())
    assert [event.event_id for event in ledger.read_events(world.store, 2) if TAUGHT in event.model_dump_json()] == ["e202"]
    assert [model.version for model in done.models] == [1]


def test_one_utterance_goes_and_the_rest_of_its_speaker_stays(taught: World) -> None:
    world = copy_of(taught)
    done = run(world, "utterance", "u200")
    assert done.addresses == ("gs://calls/u200.wav",)
    left = b"".join(data for key, data in objects(world.store).items() if not key.startswith(keys.FORGOTTEN))
    assert b'"u200"' not in left
    assert b'"u202"' in left


def test_a_suite_gets_a_version_without_them_also_where_it_is_frozen(held: World) -> None:
    world = copy_of(held)
    run(world, "speaker", HELD)
    info = find_suite(world.store, "clean")
    assert info is not None
    assert [(version.clips, version.change) for version in info.versions] == [(21, "1 clips were forgotten at a person's wish")]
    assert load_corpus(world.store, keys.suite("clean")).sha256 == info.versions[-1].sha256


# again and again


def test_a_second_run_finds_nothing_and_still_names_the_models(taught: World) -> None:
    world = copy_of(taught)
    run(world, "speaker", TAUGHT)
    stored = objects(world.store)
    again = run(world, "speaker", TAUGHT)
    assert (again.removed, again.objects, again.earlier_runs) == ({}, 0, 1)
    assert [model.version for model in again.models] == [1]
    assert objects(world.store) == stored


def test_the_record_tells_what_was_done_and_not_to_whom(taught: World) -> None:
    world = copy_of(taught)
    run(world, "speaker", TAUGHT)
    records = {key: data for key, data in objects(world.store).items() if key.startswith(keys.FORGOTTEN)}
    assert all(TAUGHT.encode() not in data and b"u200" not in data for data in records.values())
    record = CODEC.parse(records[keys.forgotten(cluster_of(KEY, speaker=f"speaker:{TAUGHT}"))])
    assert (record.cycles, [each.by for each in record.runs], record.runs[0].removed["dataset"]) == ((1,), ["ana"], 3)


class Crash(Exception):
    pass


def writes(world: World) -> Iterator[str]:
    """Forget in a copy and yield every write, in order."""
    seen: list[str] = []
    tried = copy_of(world)
    tried.store.before = lambda operation, key: seen.append(f"{operation} {key}")
    run(tried, "speaker", TAUGHT)
    return (call for call in seen if call.startswith(("put", "delete")))


def test_a_command_that_died_at_any_write_is_completed_by_the_next(taught: World) -> None:
    total = len(list(writes(taught)))
    assert total > 15
    for fatal in range(total):
        world = copy_of(taught)
        left = [fatal]

        def before(operation: str, key: str, left: list[int] = left) -> None:
            if operation in {"put", "delete"}:
                left[0] -= 1
                if left[0] < 0:
                    raise Crash(key)

        world.store.before = before
        with pytest.raises(Crash):
            run(world, "speaker", TAUGHT)
        world.store.before = lambda _operation, _key: None
        again = run(world, "speaker", TAUGHT)
        assert traces(world.store, TAUGHT) == [], f"died at write {fatal}"
        assert [model.version for model in again.models] == [1], f"died at write {fatal}"


def test_a_dry_run_says_the_same_and_changes_nothing(taught: World) -> None:
    world = copy_of(taught)
    would = run(world, "speaker", TAUGHT, dry_run=True)
    assert objects(world.store) == objects(taught.store)
    done = run(world, "speaker", TAUGHT)
    assert (would.removed, would.objects, would.models, would.addresses) == (done.removed, done.objects, done.models, done.addresses)


def test_who_was_never_here_leaves_no_trace_by_being_forgotten(taught: World) -> None:
    world = copy_of(taught)
    assert run(world, "speaker", "nobody").removed == {}
    assert objects(world.store) == objects(taught.store)


# beside others


def test_a_compactor_that_read_before_brings_nothing_back(taught: World) -> None:
    world = copy_of(taught)
    world.publish(builders.error(61))
    world.settle()
    done: list[ForgetReport] = []

    def before(operation: str, key: str) -> None:
        if operation == "put" and "/part-" in key and not done:
            done.append(forget(world.ports, "speaker", TAUGHT, by="ana"))

    world.store.before = before
    assert compact(world.store, 2) == 0
    world.store.before = lambda _operation, _key: None
    assert TAUGHT not in "".join(event.model_dump_json() for event in ledger.read_events(world.store, 2))
    run(world, "speaker", TAUGHT)
    assert traces(world.store, TAUGHT) == []


def test_the_next_cycle_seals_trains_and_judges_without_them(taught: World) -> None:
    world = copy_of(taught)
    run(world, "speaker", TAUGHT)
    world.type("model-commands", '{"promote": 1, "event_id": "promotion"}')
    world.settle()
    assert world.production().stable == 1
    world.tick(7200)
    world.publish(*(builders.error(n) for n in range(210, 280)), *(builders.sample(n, sample_rate=1.0) for n in range(160, 200)))
    world.settle()
    assert world.train(2, base=lambda clip: right(clip) if clip.stratum == "suite" else wrong(clip), candidate=right) == "completed"
    world.settle()
    assert world.state(2).status == Status.ACCEPTED
    rows = parse_lines(Row, world.store.get(keys.dataset(2)).data, what="dataset")
    (emptied,) = [row for row in rows if row.event_id == "e202"]
    assert (emptied.set_aside, emptied.hypothesis, emptied.reference) == ("not_allowed", "", None)
    assert traces(world.store, TAUGHT) == []


@pytest.mark.parametrize("at", ["preparing", "training"])
def test_a_running_cycle_that_uses_their_clips_is_waited_for(at: str) -> None:
    world = World()
    world.install_model()
    world.record_calls(range(100))
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    if at == "training":
        world.begin(next(iter(world.trainers.runs.values())))
    before = objects(world.store)
    with pytest.raises(Refused, match=f"cycle 1 is {at} and uses what is to be forgotten.*retune cancel 1"):
        run(world, "speaker", "s7")
    assert objects(world.store) == before
    assert run(world, "speaker", "somebody else").removed == {}


def test_a_verdict_without_their_words_is_still_the_verdict_that_was_announced(held: World) -> None:
    world = copy_of(held)
    manifest = sha256_hex(world.store.get(keys.manifest(1)).data)
    announced = sha256_hex(world.store.get(keys.report(1)).data)
    run(world, "speaker", HELD)
    present = sha256_hex(world.store.get(keys.report(1)).data)
    assert present != announced
    for digest in (announced, present):
        evidence = check_evidence(world.ports, 1, (digest, manifest))
        assert (evidence.champion, evidence.refusal) == (0, None)
    refusal = check_evidence(world.ports, 1, ("a" * 64, manifest)).refusal
    assert refusal is not None
    assert "forged or stale" in refusal


def test_a_cycle_that_opens_meanwhile_may_have_read_what_is_gone(taught: World) -> None:
    world = copy_of(taught)

    def before(operation: str, key: str) -> None:
        if operation == "put" and key.startswith("ledger/"):
            world.store.before = lambda _operation, _key: None
            opened = builders.cycle_state(Status.PREPARING, cycle=2)
            world.store.put(keys.state(2), document_bytes(opened))

    world.store.before = before
    with pytest.raises(Refused, match="cycle 2 is preparing"):
        run(world, "speaker", TAUGHT)


def test_a_redaction_of_one_object_says_nothing_of_another() -> None:
    store = MemoryStore()
    record_redaction(store, Redaction(key="a", old_sha256="1" * 64, new_sha256="2" * 64))
    record_redaction(store, Redaction(key="a", old_sha256="2" * 64, new_sha256="3" * 64))
    assert became(store, "a", "1" * 64, "3" * 64)
    assert not became(store, "b", "1" * 64, "3" * 64)
    assert not became(store, "a", "3" * 64, "1" * 64)


# the command


@pytest.fixture
def retune(taught: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    world = copy_of(taught)
    run = command_line(world, monkeypatch, "forget")

    def answer(*arguments: str, code: int = 0) -> str:
        answered = run(*arguments)
        assert answered.exit_code == code, answered.output
        return answered.output

    return answer


def test_the_command_says_what_it_did_what_learned_and_what_is_left_to_do(retune: Callable[..., str]) -> None:
    assert "would remove 3 from: dataset" in retune("--speaker", TAUGHT, "--dry-run")
    told = retune("--speaker", TAUGHT)
    assert "removed 3 from: dataset" in told
    assert "trained on them: v1 (cycle 1)" in told
    assert "recording to delete where it lies: gs://calls/u200.wav" in told
    assert "Cloud Storage keeps replaced and deleted objects" in told
    assert "nothing of this speaker is stored (earlier runs" in retune("--speaker", TAUGHT)
    assert json.loads(retune("--speaker", TAUGHT, "--json"))["earlier_runs"] == 1


def test_the_command_wants_one_name(retune: Callable[..., str]) -> None:
    for arguments in ((), ("--speaker", "a", "--session", "b")):
        assert "say who: one of --speaker, --session" in " ".join(retune(*arguments, code=2).split())
