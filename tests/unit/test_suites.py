"""`retune suite` and `retune replay` on in-memory ports: what a person does, what the launcher then reads, and what is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import Result

import infra.cli
import infra.corpora.cli
from functions.validator.rules import gate_policy
from infra.corpora.admission import Adding
from infra.corpora.source import Converted, UnusableAudio, read_offer
from infra.corpora.suites import MANY_LOOKS, add_suite, show_suite
from shared import keys
from shared.cas import find
from shared.corpora import CorpusClip, load_corpus
from shared.documents import lines_bytes, parse_document, parse_lines, sha256_hex
from shared.errors import Conflict
from shared.head import begin_head
from shared.policy import SuitePolicy, ValidationPolicy
from shared.splits import cluster_of, split_of
from shared.suites import DEFAULT_MARGIN, Change, find_suite, suite_names, write_suite
from shared.testing import builders
from shared.training import Clip, TrainingSpec
from shared.verdict import dump_report, parse_report
from tests.command_line import Retune, command_line
from tests.world import POLICY, World, right, wrong

NAMES_A_SUITE = POLICY.model_copy(update={"validation": ValidationPolicy(suites={"clean": SuitePolicy()})})


def as_it_is(data: bytes) -> Converted:
    if data == b"noise":
        raise UnusableAudio("expected speech, found noise")
    return Converted(data, 1.5)


@pytest.fixture
def world() -> World:
    made = World(NAMES_A_SUITE)
    made.install_model()
    made.record_calls(range(400))
    return made


@pytest.fixture
def retune(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    monkeypatch.setattr(infra.corpora.cli, "Adding", lambda **how: Adding(convert=as_it_is, open_store=world.open_store, **how))
    return command_line(world, monkeypatch)


def folder(root: Path, clips: Sequence[tuple[str, str, str | None]], *, content: Callable[[str], bytes] = str.encode) -> Path:
    """Write clips of (file, text, speaker) with their table."""
    for name, _, _ in clips:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content(name))
    rows = [{"file": name, "text": text, **({"speaker_id": who} if who else {})} for name, text, who in clips]
    (root / "transcripts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def ten_speakers(root: Path, prefix: str = "") -> Path:
    return folder(root, [(f"{prefix}{n}.wav", "fall back", f"{prefix}t{n}") for n in range(10)])


def document(answered: Result) -> dict[str, object]:
    assert answered.exit_code == 0, answered.output
    found: dict[str, object] = json.loads(answered.stdout)
    return found


# add, show, remove, freeze


def test_a_folder_becomes_a_suite_that_says_what_its_size_can_show(world: World, retune: Retune, tmp_path: Path) -> None:
    answered = retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path)), "--margin", "0.02")
    assert answered.exit_code == 0, answered.output
    text = " ".join(answered.stdout.split())
    assert "added 10 clips" in text
    assert "10 clips of 10 speakers, 20 words; margin 2.00 points." in text
    # Student's t at 9 degrees of freedom: (1.8331 + 0.8834) 0.085 / sqrt(10) = 7.30 points; with 114 clips 1.98 of them
    assert "excludes a rise by 7.30 points" in text
    assert "lacks about 104 clips of 104 speakers" in text
    clips = load_corpus(world.store, keys.suite("clean")).clips
    assert [(item.utterance_id, item.speaker) for item in clips[:1]] == [("clean/0.wav", "speaker:t0")]
    assert world.store.get(keys.audio(sha256_hex(b"0.wav"))).data == b"0.wav"


def test_clips_of_one_speaker_count_for_less(world: World, tmp_path: Path) -> None:
    shown = add_suite(
        world.ports,
        "clean",
        read_offer(folder(tmp_path, [(f"{n}.wav", "fall back", f"t{n % 5}") for n in range(20)]), None),
        Adding(by="ana", convert=as_it_is),
    ).suite
    # 4 clips a speaker: sd sqrt(1 + 3 * 0.07) = 0.0935; (2.1318 + 0.9410) 0.0935 / sqrt(20) = 6.42 points
    assert shown.size.shows == pytest.approx(0.0642, abs=1e-4)
    assert (shown.margin, shown.size.enough) == (DEFAULT_MARGIN, False)


def test_every_change_is_a_version_under_the_digest_of_its_clips(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path / "a")), "--by", "ana")
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path / "b", "x")))
    retune("suite", "remove", "clean", "clean/0.wav")
    info = find_suite(world.store, "clean")
    assert info is not None
    assert [(each.clips, each.by) for each in info.versions[:1]] == [(10, "ana")]
    assert [each.clips for each in info.versions] == [10, 20, 19]
    for version in info.versions:
        assert sha256_hex(world.store.get(keys.suite_version("clean", version.sha256)).data) == version.sha256
    assert load_corpus(world.store, keys.suite("clean")).sha256 == info.versions[-1].sha256
    first = retune("suite", "clips", "clean", "--version", info.versions[0].sha256[:8])
    assert first.stdout.splitlines()[0] == "clean/0.wav\tspeaker:t0\tfall back"
    assert retune("suite", "clips", "clean", "--version", "none").exit_code == 1


def test_the_same_clips_again_change_nothing(world: World, retune: Retune, tmp_path: Path) -> None:
    source = str(ten_speakers(tmp_path))
    retune("suite", "add", "clean", "--audio-dir", source)
    again = document(retune("suite", "add", "clean", "--audio-dir", source, "--json"))
    assert (again["added"], again["repeated"]) == (0, 10)
    info = find_suite(world.store, "clean")
    assert info is not None
    assert len(info.versions) == 1


def test_a_name_stands_for_one_recording(retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path / "a")))
    other = folder(tmp_path / "b", [("0.wav", "call back", "t99")], content=lambda name: b"other " + name.encode())
    refused = retune("suite", "add", "clean", "--audio-dir", str(other))
    assert (refused.exit_code, "clean/0.wav" in refused.stderr) == (1, True)


def test_a_frozen_suite_takes_and_loses_nothing(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path)))
    assert "(frozen)" in retune("suite", "freeze", "clean").stdout
    for refused in (
        retune("suite", "add", "clean", "--audio-dir", str(tmp_path)),
        retune("suite", "remove", "clean", "--all"),
        retune("suite", "remove", "clean", "clean/0.wav"),
    ):
        assert (refused.exit_code, "it is frozen" in refused.stderr) == (1, True)
    present = load_corpus(world.store, keys.suite("clean"))
    behind_its_back = Change(present.clips[:1], present, said="behind the command's back", by="bob")
    assert not write_suite(world.store, "clean", behind_its_back, world.clock.now())
    assert load_corpus(world.store, keys.suite("clean")) == present


def test_the_suite_of_fixed_errors_is_nobodys_to_fill(retune: Retune, tmp_path: Path) -> None:
    refused = retune("suite", "add", "fixed", "--audio-dir", str(ten_speakers(tmp_path)))
    assert (refused.exit_code, "give yours another name" in refused.stderr) == (1, True)


def test_a_removed_suite_is_gone_and_its_versions_stay(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path)))
    version = load_corpus(world.store, keys.suite("clean")).sha256
    assert "none in force" in retune("suite", "remove", "clean", "--all").stdout
    assert suite_names(world.store) == []
    assert find(world.store, keys.suite_version("clean", version or "")) is not None
    assert "removed" in retune("suite", "show", "clean").stdout
    assert retune("suite", "remove", "clean", "--all").exit_code == 1


def test_two_people_at_once_do_not_lose_each_others_clips(world: World) -> None:
    present = load_corpus(world.store, keys.suite("clean"))
    world.add_suite("clean", range(300, 305))
    late = CorpusClip(utterance_id="x", audio=builders.pin(9), reference="fall back", speaker="speaker:s9")
    with pytest.raises(Conflict):
        write_suite(world.store, "clean", Change([late], present, said="late", by="bob"), world.clock.now())
    assert len(load_corpus(world.store, keys.suite("clean")).clips) == 5


def test_what_a_command_needs_to_know_is_asked_for(retune: Retune, tmp_path: Path) -> None:
    assert retune("suite", "add", "clean").exit_code == 2
    assert retune("suite", "add", "clean", "--audio-dir", "a", "--manifest", "b").exit_code == 2
    assert retune("suite", "remove", "clean").exit_code == 2
    assert retune("replay", "remove").exit_code == 2
    refused = retune("suite", "add", "No Spaces", "--audio-dir", str(ten_speakers(tmp_path)))
    assert (refused.exit_code, "a-z, 0-9" in refused.stderr) == (1, True)
    assert "expected one of none yet" in retune("suite", "show", "clean").stderr


def test_suites_are_listed_with_those_that_the_policy_misses(retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "names", "--audio-dir", str(ten_speakers(tmp_path)))
    listed = json.loads(retune("suite", "list", "--json").stdout)
    assert [(each["name"], each["named"], each["size"]["clips"]) for each in listed] == [("clean", True, 0), ("names", False, 10)]
    assert "no clips" in retune("suite", "list").stdout


# what is offered


def test_a_clip_without_a_speaker_stands_alone_and_that_is_said(world: World, retune: Retune, tmp_path: Path) -> None:
    source = folder(tmp_path, [("a.wav", "fall back", None), ("b.wav", "call back", "t1")])
    added = retune("suite", "add", "clean", "--audio-dir", str(source))
    assert "1 of 2 clips name no speaker" in added.stdout
    lone, _ = load_corpus(world.store, keys.suite("clean")).clips
    pin = lone.audio
    assert lone.speaker == f"audio:{pin.crc32c}:{pin.size_bytes}"


def test_sub_folders_name_speakers_where_the_person_says_so(world: World, retune: Retune, tmp_path: Path) -> None:
    source = folder(tmp_path, [("ana/a.wav", "fall back", None), ("bob/b.wav", "call back", None), ("bob/c.wav", "call", "carl")])
    retune("suite", "add", "clean", "--audio-dir", str(source), "--speaker-folders")
    assert [item.speaker for item in load_corpus(world.store, keys.suite("clean")).clips] == ["speaker:ana", "speaker:bob", "speaker:carl"]


def test_what_cannot_be_heard_is_left_out_with_the_reason(retune: Retune, tmp_path: Path) -> None:
    source = ten_speakers(tmp_path)
    (source / "3.wav").write_bytes(b"noise")
    (source / "no-text.wav").write_bytes(b"speech")
    added = document(retune("suite", "add", "clean", "--audio-dir", str(source), "--json"))
    assert added["added"] == 9
    assert added["left_out"] == ["3.wav: expected speech, found noise"]
    assert added["warnings"] == ["1 of 11 files have no transcript: no-text.wav"]


def test_a_manifest_names_audio_anywhere(world: World, retune: Retune, tmp_path: Path) -> None:
    (tmp_path / "local.wav").write_bytes(b"local")
    lines = [
        {"audio_uri": "local.wav", "reference": "fall back", "session_id": "call-1"},
        {"audio_uri": "gs://calls/u7.wav", "reference": "call back", "speaker_id": "s7", "utterance_id": "u7", "hypothesis": "ignored"},
        {"audio_uri": "gs://calls/gone.wav", "reference": "call back"},
        {"audio_uri": "gs://calls/u8.wav", "reference": " "},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    added = document(retune("suite", "add", "clean", "--manifest", str(tmp_path / "m.jsonl"), "--json"))
    assert added["added"] == 2
    assert "gone.wav" in str(added["left_out"])
    assert "1 lines have an empty reference" in str(added["warnings"])
    clips = load_corpus(world.store, keys.suite("clean")).clips
    assert [(item.utterance_id, item.speaker) for item in clips] == [("clean/local.wav", "session:call-1"), ("clean/u7", "speaker:s7")]
    assert clips[1].audio.crc32c == builders.pin(7).crc32c


# the wall


def trained_world(world: World) -> int:
    """Seal a cycle and return the number of an utterance that was trained on."""
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    lines = world.store.get(keys.dataset(1)).data.splitlines()
    return next(int(row["utterance_id"][1:]) for row in map(json.loads, lines) if row["split"] == "train")


def test_a_speaker_who_was_trained_on_may_not_judge(world: World, retune: Retune, tmp_path: Path) -> None:
    number = trained_world(world)
    source = folder(tmp_path, [("a.wav", "fall back", f"s{number}"), ("b.wav", "call back", "new")])
    refused = retune("suite", "add", "clean", "--audio-dir", str(source))
    assert refused.exit_code == 1
    assert f"a.wav (speaker s{number} is in cycle 1 (train))" in refused.stderr
    assert "--skip-crossing" in refused.stderr
    assert find(world.store, keys.audio(sha256_hex(b"b.wav"))) is None
    skipped = document(retune("suite", "add", "clean", "--audio-dir", str(source), "--skip-crossing", "--json"))
    assert (skipped["added"], skipped["left_out"]) == (1, [f"a.wav: speaker s{number} is in cycle 1 (train)"])


def test_a_recording_that_was_trained_on_may_not_judge_under_another_name(world: World, retune: Retune, tmp_path: Path) -> None:
    number = trained_world(world)
    source = folder(tmp_path, [("a.wav", "fall back", "new")], content=lambda _name: builders.audio_bytes(number))
    assert "the same recording is in cycle 1 (train)" in retune("suite", "add", "clean", "--audio-dir", str(source)).stderr


def test_who_is_in_the_replay_may_not_judge_and_the_other_way_round(retune: Retune, tmp_path: Path) -> None:
    retune("replay", "add", "--audio-dir", str(folder(tmp_path / "a", [("a.wav", "fall back", "ana")])))
    retune("suite", "add", "clean", "--audio-dir", str(folder(tmp_path / "b", [("b.wav", "fall back", "bob")])))
    both = str(folder(tmp_path / "c", [("c.wav", "fall back", "ana"), ("d.wav", "fall back", "bob")]))
    assert "c.wav (speaker ana is in the replay)" in retune("suite", "add", "clean", "--audio-dir", both).stderr
    assert "d.wav (speaker bob is in suite clean)" in retune("replay", "add", "--audio-dir", both).stderr


def test_who_is_held_out_may_not_be_replayed(world: World, retune: Retune, tmp_path: Path) -> None:
    trained_world(world)
    held = parse_lines(Clip, world.store.get(keys.holdout(1)).data, what="holdout")[0]
    source = str(folder(tmp_path, [("a.wav", "fall back", f"s{held.utterance_id[1:]}")]))
    assert "is in the holdout" in retune("replay", "add", "--audio-dir", source).stderr


# replay


def test_the_replay_says_what_each_clip_is_used_for(world: World, retune: Retune, tmp_path: Path) -> None:
    added = retune("replay", "add", "--audio-dir", str(ten_speakers(tmp_path)))
    assert "added 10 clips" in added.stdout
    view = document(retune("replay", "list", "--json"))
    key = world.store.get(keys.SPLIT_KEY).data
    splits = [split_of(cluster_of(key, speaker=f"speaker:t{n}"), POLICY) for n in range(10)]
    assert view["used"] == {split: splits.count(split) for split in sorted(set(splits))}
    assert (view["clips"], view["words"], view["hours"]) == (10, 20, 0.0)


def test_replay_clips_are_removed_by_name_or_all(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("replay", "add", "--audio-dir", str(ten_speakers(tmp_path)))
    assert "removed 1 clips" in retune("replay", "remove", "replay/3.wav").stdout
    assert retune("replay", "remove", "replay/3.wav").exit_code == 1
    assert "The replay is empty" in retune("replay", "remove", "--all").stdout
    assert load_corpus(world.store, keys.REPLAY).clips == ()


# the cycle, and its verdict


def test_a_suite_is_sized_by_the_spread_that_verdicts_on_it_measured(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path)), "--margin", "0.3")
    assert "prior: spread 0.085" in retune("suite", "show", "clean").stdout
    # one of ten clips of two words gets one error: D = 1, 0 nine times; sd(D) = 0.316228, sd_d = 0.316228 * sqrt(10) / 20 * sqrt(10) = 0.158114
    lost = load_corpus(world.store, keys.suite("clean")).clips[3].utterance_id
    judged(world, candidate=lambda clip: "fall front" if clip.utterance_id == lost else right(clip))
    size = show_suite(world.ports, "clean").size
    # (1.833113 + 0.883404) * 0.158114 / sqrt(10)
    assert size.measured == 1
    assert size.shows == pytest.approx(0.135826, abs=1e-5)
    assert "by the spread that 1 verdict on it measured" in " ".join(retune("suite", "show", "clean").stdout.split())


def judged(world: World, *, candidate: Callable[[Clip], str] = right) -> TrainingSpec:
    world.publish(*(builders.sample(n, sample_rate=1.0) for n in range(100, 160)))
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    world.train(1, base=lambda clip: right(clip) if clip.stratum == "suite" else wrong(clip), candidate=candidate)
    world.settle()
    return parse_document(TrainingSpec, world.store.get(keys.spec(1)).data, what="spec")


def test_the_spec_tells_margin_and_version_and_history_shows_both_models(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path)), "--margin", "0.3")
    spec = judged(world)
    (clip_set,) = [each for each in spec.sets if each.name == "suite-clean"]
    version = load_corpus(world.store, keys.suite("clean")).sha256
    assert (clip_set.margin, clip_set.version, clip_set.clips) == (0.3, version, 10)
    (look,) = json.loads(retune("suite", "history", "clean", "--json").stdout)["looks"]
    assert (look["version"], look["base_version"], look["margin"], look["suite_version"], look["decides"]) == (1, 0, 0.3, version, True)
    assert (look["base"]["estimate"], look["candidate"]["estimate"], look["speakers"]) == (0.0, 0.0, 10)
    assert "looks: 1 verdicts used it, 1 of them this version" in retune("suite", "show", "clean").stdout
    assert "v1 (from v0)" in retune("suite", "history", "clean").stdout
    page = tmp_path / "history.html"
    assert retune("suite", "history", "clean", "--html", str(page)).exit_code == 0
    assert page.read_text().count("<circle") == 2


def test_the_policys_margin_goes_before_the_suites(world: World) -> None:
    world.add_suite("clean", range(300, 340))
    spec = judged(world)
    named = ValidationPolicy(suites={"clean": SuitePolicy(margin=0.02), "absent": SuitePolicy()})
    assert gate_policy(NAMES_A_SUITE, spec).suite_margins == {"suite-clean": DEFAULT_MARGIN}
    assert gate_policy(POLICY.model_copy(update={"validation": named}), spec).suite_margins == {
        "suite-clean": 0.02,
        "suite-absent": DEFAULT_MARGIN,
    }


def test_an_earlier_launchers_clips_are_of_a_version_that_nobody_can_tell(world: World) -> None:
    world.add_suite("clean", range(300, 340))
    begin_head(world.store)
    world.store.put(keys.clips(1, "suite-clean"), lines_bytes([]))
    (clip_set,) = [each for each in judged(world).sets if each.name == "suite-clean"]
    assert (clip_set.clips, clip_set.version) == (0, None)


def test_what_lies_beside_a_suites_clips_is_not_taken_for_clips(world: World, retune: Retune, tmp_path: Path) -> None:
    retune("suite", "add", "clean", "--audio-dir", str(ten_speakers(tmp_path)))
    world.publish(*(builders.error(n, speaker_id="t0" if n < 10 else f"s{n}") for n in range(60)))
    world.settle()
    rows = [json.loads(line) for line in world.store.get(keys.dataset(1)).data.splitlines()]
    assert {row["split"] for row in rows if row["speaker"] == "speaker:t0"} == {"holdout"}


def test_clips_that_judged_often_are_worn(world: World, retune: Retune) -> None:
    world.add_suite("clean", range(300, 340))
    judged(world)
    report = parse_report(world.store.get(keys.report(1)).data)
    for cycle in range(2, MANY_LOOKS + 1):
        assert "WARNING" not in retune("suite", "show", "clean").stdout
        world.store.put(keys.report(cycle), dump_report(report.model_copy(update={"cycle": cycle, "version": cycle})))
        world.store.put(keys.spec(cycle), world.store.get(keys.spec(1)).data)
    assert "WARNING: models come to be chosen" in retune("suite", "show", "clean").stdout
    retune("suite", "remove", "clean", "u300")
    assert "10 verdicts used it, 0 of them this version" in retune("suite", "show", "clean").stdout


def test_a_suite_that_only_has_clips_has_the_default_margin(world: World) -> None:
    world.add_suite("clean", range(300, 340))
    view = show_suite(world.ports, "clean")
    assert (view.margin, view.versions, view.size.clips) == (DEFAULT_MARGIN, (), 40)
