"""What is in a folder of audio, and what about it does not add up."""

import json
import unicodedata
from hashlib import sha256
from pathlib import Path

import pytest

from trainer.finetune.folder import AudioFolder, BadFolder, FolderClip, digest_of, read_folder


def make(folder: Path, *names: str, **texts: str) -> Path:
    """Write files of no content, and texts by their name (`__` for `/`, `_dot_` for `.`)."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def rows(*contents: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in contents)


def read(folder: Path) -> dict[str, FolderClip]:
    return {clip.utterance_id: clip for clip in read_folder(folder).clips}


def refusal(folder: Path) -> str:
    with pytest.raises(BadFolder) as caught:
        read_folder(folder)
    return str(caught.value)


def only_warning(found: AudioFolder) -> str:
    (warning,) = found.warnings
    return warning


def test_both_conditions_are_read_with_their_sub_folders(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", "clean/monday/b.FLAC", "noisy/c.mp3", "noisy/d.ogg")
    assert [(clip.utterance_id, clip.condition) for clip in read_folder(tmp_path).clips] == [
        ("clean/a.wav", "clean"),
        ("clean/monday/b.FLAC", "clean"),
        ("noisy/c.mp3", "noisy"),
        ("noisy/d.ogg", "noisy"),
    ]


@pytest.mark.parametrize("only", ["clean", "noisy"])
def test_one_of_the_conditions_may_be_absent(tmp_path: Path, only: str) -> None:
    assert list(read(make(tmp_path, f"{only}/a.wav"))) == [f"{only}/a.wav"]


def test_without_either_all_of_it_is_noisy_and_that_is_said(tmp_path: Path) -> None:
    found = read_folder(make(tmp_path, "a.wav", "ana/b.mp3", a_dot_txt="hello", ana__b_dot_txt="you"))
    assert [(clip.utterance_id, clip.condition) for clip in found.clips] == [("a.wav", "noisy"), ("ana/b.mp3", "noisy")]
    assert "taken for noisy" in only_warning(found)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == f"audio folder {tmp_path / 'absent'}: expected a folder, found none"
    assert "found a file" in refusal(make(tmp_path, "a.wav") / "a.wav")


def test_audio_may_lie_anywhere_where_conditions_do_not_matter(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "ana/b.wav", transcripts_dot_jsonl=rows({"file": "ana/b.wav", "text": "hello"}), a_dot_txt="you")
    found = read_folder(tmp_path, anywhere=True)
    assert [(clip.utterance_id, clip.transcript) for clip in found.clips] == [("a.wav", "you"), ("ana/b.wav", "hello")]
    assert found.warnings == ()
    with pytest.raises(BadFolder, match="expected a folder"):
        read_folder(tmp_path / "absent", anywhere=True)


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    assert "files in clean, found none" in refusal(make(tmp_path, "clean/a.m4a"))
    assert "files in it, found none" in refusal(make(tmp_path / "flat", "a.m4a"))


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("transcripts_dot_jsonl", '{"file": "clean/a.wav", "text": "Hello, you", "speaker_id": "s1"}\n'),
        ("transcripts_dot_jsonl", '\ufeff{"path": "./clean/a.wav", "reference": "Hello, you", "speaker": "s1"}\n\n'),
        ("transcripts_dot_csv", 'file,text,speaker_id\nclean/a.wav,"Hello, you",s1\n'),
        ("transcripts_dot_csv", '\ufeffAudio,Sentence,Speaker\r\nclean\\a.wav,"Hello, you",s1\r\n'),
        ("transcripts_dot_tsv", "path\ttranscript\tspeaker_id\nclean/a.wav\tHello, you\ts1\n"),
    ],
)
def test_every_kind_of_table_gives_text_and_speaker(tmp_path: Path, table: str, content: str) -> None:
    clip = read(make(tmp_path, "clean/a.wav", **{table: content}))["clean/a.wav"]
    assert (clip.transcript, clip.speaker) == ("Hello, you", "s1")


def test_a_quotation_mark_in_a_table_of_tabs_is_text(tmp_path: Path) -> None:
    table = 'file\ttext\nclean/a.wav\t"hello\nclean/b.wav\tyou\n'
    clips = read(make(tmp_path, "clean/a.wav", "clean/b.wav", transcripts_dot_tsv=table))
    assert [clip.transcript for clip in clips.values()] == ['"hello', "you"]


def test_a_text_beside_a_file_is_its_transcript(tmp_path: Path) -> None:
    found = read(make(tmp_path, "clean/a.wav", clean__a_dot_txt="\ufeffhello\nyou\n"))
    assert found["clean/a.wav"].transcript == "hello you"


def test_table_and_text_may_say_the_same_and_the_table_wins(tmp_path: Path) -> None:
    table = rows({"file": "clean/a.wav", "text": "Hello!"})
    found = read(make(tmp_path, "clean/a.wav", transcripts_dot_jsonl=table, clean__a_dot_txt="hello"))
    assert found["clean/a.wav"].transcript == "Hello!"


def test_table_and_text_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    table = rows({"file": "clean/b.wav", "text": "x"}, {"file": "clean/a.wav", "text": "hello"})
    text = refusal(make(tmp_path, "clean/a.wav", "clean/b.wav", transcripts_dot_jsonl=table, clean__a_dot_txt="goodbye"))
    assert text == "clean/a.wav: expected one transcript, found 'hello' in line 2 of the table and 'goodbye' beside it"


def test_two_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    table = rows({"file": "clean/a.wav", "text": "one"}, {"file": "clean/a.wav", "text": "two"})
    assert "lines 1 and 2" in refusal(make(tmp_path, "clean/a.wav", transcripts_dot_jsonl=table))


def test_a_row_that_is_repeated_is_listed(tmp_path: Path) -> None:
    table = rows({"file": "clean/a.wav", "text": "one"}) * 2
    assert "clean/a.wav (line 2)" in only_warning(read_folder(make(tmp_path, "clean/a.wav", transcripts_dot_jsonl=table)))


def test_a_row_without_its_file_is_listed(tmp_path: Path) -> None:
    table = rows({"file": "clean/a.wav", "text": "one"}, {"file": "clean/gone.wav", "text": "two"})
    assert "clean/gone.wav" in only_warning(read_folder(make(tmp_path, "clean/a.wav", transcripts_dot_jsonl=table)))


def test_a_table_whose_files_are_all_elsewhere_is_refused(tmp_path: Path) -> None:
    text = refusal(make(tmp_path, "clean/a.wav", transcripts_dot_jsonl=rows({"file": "a.wav", "text": "one"})))
    assert text == "transcripts: expected files such as clean/a.wav, found none of 1 there: a.wav"


@pytest.mark.parametrize(
    ("table", "content", "where"),
    [
        ("transcripts_dot_jsonl", '{"file": "clean/a.wav", "text": "one"}\n{"file": \n', "transcripts.jsonl line 2"),
        ("transcripts_dot_jsonl", '["clean/a.wav", "one"]\n', "transcripts.jsonl line 1"),
        ("transcripts_dot_jsonl", '{"text": "one"}\n', "line 1: expected a file"),
        ("transcripts_dot_csv", "clean/a.wav,one\n", "transcripts.csv line 1: expected a header"),
        ("transcripts_dot_csv", "file,text\nclean/a.wav,hello, you\n", "line 2: expected 2 columns, found 3"),
        ("transcripts_dot_csv", 'file,text\nclean/a.wav,"hello\n', "transcripts.csv line 2"),
        ("transcripts_dot_tsv", "file\ttext\nclean/a.wav one\n", "line 2: expected 2 columns, found 1"),
    ],
)
def test_a_table_that_cannot_be_read_names_its_line(tmp_path: Path, table: str, content: str, where: str) -> None:
    assert where in refusal(make(tmp_path, "clean/a.wav", **{table: content}))


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav")
    (tmp_path / "transcripts.csv").write_bytes("file,text\nclean/a.wav,caf\u00e9\n".encode("latin-1"))
    assert refusal(tmp_path) == "transcripts.csv line 2: expected UTF-8, found byte 0xe9; save it as UTF-8"


def test_two_tables_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", transcripts_dot_csv="file,text\n", transcripts_dot_tsv="file\ttext\n")
    assert "found transcripts.csv, transcripts.tsv" in refusal(tmp_path)


def test_all_contradictions_come_at_once(tmp_path: Path) -> None:
    table = rows({"file": "clean/a.wav", "text": "1"}, {"file": "clean/a.wav", "text": "2"}, {"text": "3"})
    assert len(refusal(make(tmp_path, "clean/a.wav", transcripts_dot_jsonl=table)).splitlines()) == 2


def test_files_without_a_transcript_are_listed(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", "clean/b.wav", "clean/c.wav", clean__a_dot_txt="hello", clean__b_dot_txt="...")
    found = read_folder(tmp_path)
    assert only_warning(found) == "2 of 3 files have no transcript: clean/b.wav, clean/c.wav"
    assert [clip.transcript for clip in found.clips] == ["hello", None, None]


def test_what_is_not_read_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", "clean/b.m4a", "clean/._a.wav", clean__a_dot_txt="hello", clean__notes_dot_txt="x")
    first, second = read_folder(tmp_path).warnings
    assert "(1 .m4a, 1 .wav): clean/._a.wav, clean/b.m4a" in first
    assert second == "1 texts have no audio beside them: clean/notes.txt"


def test_a_text_that_may_belong_to_two_files_is_refused(tmp_path: Path) -> None:
    assert "clean/a.mp3 and clean/a.wav" in refusal(make(tmp_path, "clean/a.wav", "clean/a.mp3", clean__a_dot_txt="hello"))


def test_a_link_to_a_folder_is_not_followed_and_listed(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", clean__a_dot_txt="hello")
    (tmp_path / "clean" / "loop").symlink_to(tmp_path)
    assert "links to folders are not followed" in only_warning(read_folder(tmp_path))


def test_some_speakers_unknown_is_listed(tmp_path: Path) -> None:
    table = rows({"file": "clean/a.wav", "text": "one", "speaker_id": "s"}, {"file": "clean/b.wav", "text": "two"})
    assert "no speaker_id" in only_warning(read_folder(make(tmp_path, "clean/a.wav", "clean/b.wav", transcripts_dot_jsonl=table)))


def test_accents_match_however_they_are_written(tmp_path: Path) -> None:
    make(tmp_path, "clean/" + unicodedata.normalize("NFD", "caf\u00e9.wav"))
    (tmp_path / "transcripts.jsonl").write_text(rows({"file": "clean/caf\u00e9.wav", "text": "one"}), encoding="utf-8")
    assert read(tmp_path)["clean/caf\u00e9.wav"].transcript == "one"


def test_a_digest_tells_apart_whatever_a_run_rests_on(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", "clean/b.wav")
    clips = [FolderClip(f"clean/{name}.wav", tmp_path / f"clean/{name}.wav", "clean", "hello", "s") for name in "ab"]
    before = digest_of(clips, {})
    assert digest_of(clips[::-1], {}) == before
    changed = [
        [clips[0]],
        [FolderClip("clean/a.wav", clips[0].path, "clean", "goodbye", "s"), clips[1]],
        [FolderClip("clean/a.wav", clips[0].path, "clean", "hello", "t"), clips[1]],
    ]
    digests = {digest_of(each, {}) for each in changed}
    clips[0].path.write_bytes(b"other audio")
    digests.add(digest_of(clips, {}))
    assert len(digests) == 4
    assert before not in digests


def test_audio_that_was_hashed_already_is_not_read_again(tmp_path: Path) -> None:
    make(tmp_path, "clean/a.wav", "clean/b.wav")
    clips = [FolderClip(f"clean/{name}.wav", tmp_path / f"clean/{name}.wav", "clean") for name in "ab"]
    before = digest_of(clips, {})
    known = {"clean/a.wav": sha256(b"clean/a.wav").hexdigest()}
    clips[0].path.unlink()
    assert digest_of(clips, known) == before
    assert digest_of(clips, {}) != before
