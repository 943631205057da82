"""`retune dataset`: what a seal would make, what a cycle's dataset holds, and an export that a loader takes."""

import json
import wave
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import infra.cli
import infra.dataset.cli
from functions.views.dataset import view
from infra.dataset.export import audio_suffix
from infra.dry_run import Overlay
from shared import keys
from shared.dataset import Row
from shared.documents import parse_lines, sha256_hex
from shared.errors import Conflict
from shared.objectstore import ABSENT
from shared.testing import builders
from shared.testing.clock import START, FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import SetAside
from tests.command_line import Retune, command_line
from tests.world import POLICY, World, copy_of, opened_world, trained_world


def dataset_of(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    monkeypatch.setattr(infra.dataset.cli, "audio_of", lambda ports: world.audio)
    return command_line(world, monkeypatch, "dataset")


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Retune:
    for name in ("RETUNE_BUCKET", "GOOGLE_CLOUD_PROJECT", "RETUNE_AUDIO_PREFIXES", "RETUNE_POLICY"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(infra.cli.app, ["dataset", *map(str, arguments)])


def loaded(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read an audiofolder by the documented rules: splits by folder name, one metadata file each, every file linked, columns alike."""
    splits = {}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        assert part.name in {"train", "validation", "test"}
        lines = [json.loads(line) for line in (part / "metadata.jsonl").read_text().splitlines()]
        named = {line["file_name"] for line in lines}
        audio = {path.name for path in part.iterdir()} - {"metadata.jsonl"}
        assert named == audio
        assert len(named) == len(lines)
        assert {tuple(line) for line in lines} == {tuple(lines[0])}
        assert "audio" not in lines[0]
        splits[part.name] = lines
    # a column that is null, or of another type, in one split is refused with "different features"
    assert len({tuple((name, type(value)) for name, value in line.items()) for lines in splits.values() for line in lines}) == 1
    assert not any(value is None for lines in splits.values() for line in lines for value in line.values())
    return splits


# build


def test_build_shows_what_a_seal_would_make_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(POLICY.model_copy(update={"min_error_cases": 1000}))
    world.install_model()
    world.record_calls(range(39))
    world.publish(*(builders.error(n) for n in range(40)))
    world.settle()
    before = {info.key: info.generation for info in copy_of(world).list("")}
    answered = dataset_of(world, monkeypatch)("build", "--json")
    assert answered.exit_code == 0
    built = json.loads(answered.stdout)
    assert built["source"] == "cycle 1, as it would be sealed now"
    assert built["kinds"] == {"error": 40}
    assert sum(split["errors"] for split in built["splits"]) == 39
    assert [(aside["reason"], aside["rows"]) for aside in built["set_aside"]] == [("missing", 1)]
    assert {info.key for info in world.store.list("")} == before.keys()


def test_what_build_shows_is_what_the_seal_makes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(POLICY.model_copy(update={"min_error_cases": 1000}))
    world.install_model()
    world.record_calls(range(60))
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    out = tmp_path / "next.jsonl"
    assert dataset_of(world, monkeypatch)("build", "--out", out).exit_code == 0
    world.type("finetune-triggers", '{"force": true}')
    world.settle()
    assert parse_lines(Row, out.read_bytes(), what="out") == parse_lines(Row, world.store.get(keys.dataset(1)).data, what="sealed")


def test_build_with_nothing_collected_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = dataset_of(World(), monkeypatch)("build")
    assert (answered.exit_code, answered.stderr) == (1, "cycle 1: expected collected events, found none; see `retune status`\n")


def record(path: Path, *, seconds: float = 1.0, rate: int = 16_000, tone: int = 0) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone.to_bytes(2, "little") * int(seconds * rate))


@pytest.mark.torch
def test_a_folder_of_recordings_is_prepared_and_exported(outside: Retune, tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    calls = tmp_path / "calls"
    calls.mkdir()
    table = ["file,text,speaker_id"]
    for number in range(30):
        record(calls / f"c{number}.wav", tone=number + 1)
        table.append(f"c{number}.wav,words of {number},ana{number}")
    record(calls / "slow.wav", rate=8_000, tone=70)
    record(calls / "blip.wav", seconds=0.1, tone=71)
    (calls / "noise.wav").write_bytes(b"RIFF is all that it is")
    table += ["slow.wav,eight kilohertz,bob", "blip.wav,short,eve", "noise.wav,no audio,joe"]
    (calls / "transcripts.csv").write_text("\n".join(table))
    out, exported = tmp_path / "d.jsonl", tmp_path / "hf"
    built = json.loads(outside("build", "--audio-dir", calls, "--out", out, "--json").stdout)
    reasons = {aside["reason"]: aside["rows"] for aside in built["set_aside"]}
    assert reasons["wrong_rate"] == 1
    assert reasons["not_audio"] == 1
    assert built["kinds"] == {"error": 33}
    assert all(split["speakers"] >= split["errors"] > 0 for split in built["splits"])
    answered = outside("export", "--file", out, "--hf", exported)
    assert answered.exit_code == 0, answered.output
    splits = loaded(exported)
    assert splits.keys() == {"train", "validation", "test"}
    every = [line for lines in splits.values() for line in lines]
    assert {f"words of {number}" for number in range(30)} <= {line["transcription"] for line in every}
    assert not any("ana" in line["speaker"] for line in every)
    assert {line["duration_s"] for line in every} <= {1.0, 0.1}
    _read_by_nemos_rules(outside, out, tmp_path / "nemo", {line["utterance_id"]: line["transcription"] for line in every})
    _read_by_lhotse(outside, out, tmp_path / "lhotse", {line["utterance_id"]: line["transcription"] for line in every})


def _read_by_nemos_rules(retune: Retune, rows: Path, folder: Path, texts: dict[str, str]) -> None:
    """One JSON object a line with an existing path, relative to the manifest, seconds, and text."""
    answered = retune("export", "--file", rows, "--nemo", folder)
    assert answered.exit_code == 0, answered.output
    read = {}
    for manifest in folder.glob("*.json"):
        if manifest.name != "provenance.json":
            for line in map(json.loads, manifest.read_text().splitlines()):
                with wave.open(str(manifest.parent / line["audio_filepath"])) as file:
                    assert line["duration"] == file.getnframes() / file.getframerate()
                read[line["utterance_id"]] = line["text"]
    assert read == texts


def _read_by_lhotse(retune: Retune, rows: Path, folder: Path, texts: dict[str, str]) -> None:
    """Loaded by lhotse itself, with the audio behind each cut."""
    lhotse = pytest.importorskip("lhotse")
    answered = retune("export", "--file", rows, "--lhotse", folder)
    assert answered.exit_code == 0, answered.output
    cuts = [cut for name in ("train", "validation", "test") for cut in lhotse.CutSet.from_file(folder / f"{name}.jsonl.gz")]
    assert {cut.id.removesuffix("-0"): cut.supervisions[0].text for cut in cuts} == texts
    samples = cuts[0].load_audio()
    assert samples.shape == (1, round(cuts[0].duration * 16_000))


def test_a_clip_whose_length_cannot_be_told_is_left_out_where_the_tool_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    answered = dataset_of(trained_world(), monkeypatch)("export", 1, "--nemo", tmp_path / "nemo", "--json")
    assert answered.exit_code == 1
    assert "expected clips with audio and a reference, found none" in answered.stderr
    assert "expected audio whose length can be told" in answered.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", [(), ("--hf", "a", "--nemo", "b")])
def test_an_export_is_for_one_tool(outside: Retune, named: tuple[str, ...]) -> None:
    assert outside("export", 1, *named).exit_code == 2


# show


def test_show_tells_of_splits_speakers_and_what_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    retune = dataset_of(opened_world(), monkeypatch)
    found = json.loads(retune("show", 1, "--json").stdout)
    assert (found["rows"], found["fresh"], found["carried"]) == (120, 120, 0)
    assert found["kinds"] == {"error": 60, "sample": 60}
    assert sum(split["errors"] + split["samples"] for split in found["splits"]) == 120
    assert sum(split["human"] for split in found["splits"]) == 60
    text = retune("show", 1).stdout
    assert "120 rows: 60 of kind error, 60 of kind sample; 120 fresh, 0 carried" in text


def test_what_the_trainer_set_aside_is_shown_beside_what_the_seal_did() -> None:
    row = Row(event_id="e1", kind="error", origin="fresh", occurred_at=START, set_aside="missing", detail="gone")
    aside = SetAside(utterance_id="u2", set_name="train-errors", reason="silence", detail="-90 dB")
    found = view("x", [row], [aside])
    assert [(each.by, each.reason, each.rows, each.examples) for each in found.set_aside] == [
        ("seal", "missing", 1, ("gone",)),
        ("trainer", "silence", 1, ("-90 dB",)),
    ]


def test_a_cycle_without_a_dataset_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    retune = dataset_of(World(), monkeypatch)
    answered = retune("show", 4)
    assert answered.exit_code == 1
    assert "cycle 4: expected a sealed dataset, found none (it was not opened)" in answered.stderr
    assert retune("export", 4, "--hf", "never").exit_code == 1


@pytest.mark.parametrize(
    "arguments", [("show",), ("show", "1", "--file", "x"), ("export", "--hf", "x"), ("build", "--audio-dir", "a", "--manifest", "b")]
)
def test_two_sources_or_none_are_wrong_usage(outside: Retune, arguments: tuple[str, ...]) -> None:
    assert outside(*arguments).exit_code == 2


def test_a_file_that_is_no_dataset_is_refused(outside: Retune, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    assert "expected a file that can be read" in outside("show", "--file", path).stderr
    path.write_text('{"event_id": "e1"}\n')
    answered = outside("show", "--file", path)
    assert answered.exit_code == 1
    assert (
        "d.jsonl line 1: expected a valid Row, found kind: Field required; write one with `retune dataset build --out FILE`"
        in answered.stderr
    )


# export


def test_an_export_loads_by_the_documented_rules_and_holds_the_pinned_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = trained_world()
    folder = tmp_path / "hf"
    answered = dataset_of(world, monkeypatch)("export", 1, "--hf", folder)
    assert answered.exit_code == 0, answered.output
    splits = loaded(folder)
    assert sum(map(len, splits.values())) == 60
    rows = {row.utterance_id: row for row in parse_lines(Row, world.store.get(keys.dataset(1)).data, what="d") if row.kind == "error"}
    for name, lines in splits.items():
        for line in lines:
            row = rows[line["utterance_id"]]
            assert {"train": "train", "dev": "validation", "holdout": "test"}[row.split or ""] == name
            data = (folder / name / line["file_name"]).read_bytes()
            assert data == builders.audio_bytes(int(line["utterance_id"][1:]))
            assert (line["sha256"], line["transcription"], line["speaker"]) == (sha256_hex(data), "fall back", row.cluster)
            assert line["speaker"] != f"s{line['utterance_id'][1:]}"
            assert "duration_s" not in line
            assert line["weight"] == 1.0
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["dataset_sha256"] == sha256_hex(world.store.get(keys.dataset(1)).data)


def test_audio_that_was_replaced_is_left_out_unless_it_was_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = trained_world()
    rows = [row for row in parse_lines(Row, world.store.get(keys.dataset(1)).data, what="d") if row.kind == "error"]
    trained, held = (next(row for row in rows if row.split == split) for split in ("train", "holdout"))
    for row in (trained, held):
        world.calls.put(f"{row.utterance_id}.wav", b"something else")
    answered = dataset_of(world, monkeypatch)("export", 1, "--hf", tmp_path / "hf", "--json")
    assert answered.exit_code == 1
    exported = json.loads(answered.stdout)
    assert [item["utterance_id"] for item in exported["left_out"]] == [trained.utterance_id]
    assert sum(exported["clips"].values()) == 59


def test_a_folder_that_holds_something_is_not_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    answered = dataset_of(trained_world(), monkeypatch)("export", 1, "--hf", tmp_path)
    assert answered.exit_code == 1
    assert "expected a folder that does not exist yet or is empty, found something there; name another" in answered.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_of_a_failed_export_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World()
    world.install_model()
    world.record_calls(range(60))
    world.publish(*(builders.error(n, reference=None) for n in range(60)))
    world.settle()
    out = tmp_path / "rows.jsonl"
    retune = dataset_of(world, monkeypatch)
    assert retune("build", "--out", out).exit_code == 0
    assert "name another" in retune("build", "--out", out).stderr
    answered = retune("export", "--file", out, "--hf", tmp_path / "hf")
    assert answered.exit_code == 1
    assert "expected clips with audio and a reference, found none" in answered.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("data", "uri", "suffix"),
    [
        (b"RIFF....WAVE", "gs://calls/a", ".wav"),
        (b"fLaC", "gs://calls/a.wav", ".flac"),
        (b"????", "gs://calls/a.OGG", ".ogg"),
        (b"????", "gs://calls/a.exe", None),
    ],
)
def test_a_files_suffix_follows_its_bytes_then_its_address(data: bytes, uri: str, suffix: str | None) -> None:
    assert audio_suffix(data, uri) == suffix


def test_an_overlay_keeps_the_conditions_of_what_is_below() -> None:
    below = MemoryStore()
    stood = below.put("a/1", b"old")
    over = Overlay(below, FakeClock())
    with pytest.raises(Conflict):
        over.put("a/1", b"new", if_generation_match=ABSENT)
    over.put("a/1", b"new", if_generation_match=stood.generation)
    over.put("a/2", b"two", if_generation_match=ABSENT)
    assert over.get("a/1").data == b"new"
    assert [info.key for info in over.list("a/")] == ["a/1", "a/2"]
    assert below.get("a/1").data == b"old"
    assert [info.key for info in below.list("")] == ["a/1"]
