"""The spool: bounded, first in first out, shared by processes, whole after a crash."""

import os
from pathlib import Path

import pytest
from retune_client.errors import SpoolFullError
from retune_client.events import EventMessage
from retune_client.spool import SEGMENT_MESSAGES, Spool
from retune_client.testing import ManualClock


def messages(*numbers: int) -> list[EventMessage]:
    return [EventMessage("SttError", f'{{"n":{number},"text":"é"}}'.encode()) for number in numbers]


def spool_in(folder: Path, clock: ManualClock | None = None, max_bytes: int = 10_000_000) -> Spool:
    return Spool(folder, max_bytes=max_bytes, clock=clock or ManualClock())


def drained(spool: Spool) -> list[EventMessage]:
    got: list[EventMessage] = []
    while (segment := spool.take()) is not None:
        got += segment.messages
        spool.finish(segment)
    return got


def test_messages_come_out_in_order_byte_for_byte(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append(messages(1, 2))
    spool.append(messages(3))
    spool.append(messages(*range(4, 4 + 2 * SEGMENT_MESSAGES)))
    spool.append(messages(-1))
    assert len(list(tmp_path.iterdir())) == 2
    assert drained(spool) == messages(1, 2, 3, *range(4, 4 + 2 * SEGMENT_MESSAGES), -1)
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_what_people_said(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool")
    spool.append(messages(1))
    (segment,) = (tmp_path / "spool").iterdir()
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "spool", segment)] == [0o700, 0o600]
    spool.close()


def test_what_does_not_fit_is_refused_as_a_whole(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, max_bytes=150)
    spool.append(messages(1, 2))
    with pytest.raises(SpoolFullError, match="expected room for"):
        spool.append(messages(3, 4))
    assert drained(spool) == messages(1, 2)
    spool.append(messages(5))
    assert drained(spool) == messages(5)


def test_a_segment_that_a_neighbour_writes_or_reads_is_left_alone_until_it_is_gone(tmp_path: Path) -> None:
    neighbour, spool = spool_in(tmp_path), spool_in(tmp_path)
    neighbour.append(messages(1))
    assert spool.take() is None
    claimed = neighbour.take()
    assert claimed is not None
    assert spool.take() is None
    neighbour.release(claimed)
    assert drained(spool) == messages(1)


def test_a_released_segment_is_sent_again_as_a_whole(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append(messages(1, 2))
    segment = spool.take()
    assert segment is not None
    segment.messages.pop()
    spool.release(segment)
    assert drained(spool) == messages(1, 2)


def test_older_segments_go_first_whoever_wrote_them(tmp_path: Path) -> None:
    clock = ManualClock()
    first, second = spool_in(tmp_path, clock), spool_in(tmp_path, clock)
    first.append(messages(1))
    clock.advance(1)
    second.append(messages(2))
    first.close()
    assert drained(second) == messages(1, 2)


def test_a_torn_line_is_skipped_and_counted_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append(messages(1))
    spool.close()
    (segment,) = tmp_path.iterdir()
    with segment.open("ab") as file:
        file.write(b'[]\n{"type": "SttEr')
    (tmp_path / "notes.jsonl").write_text("mine\n")
    assert drained(spool) == messages(1)
    assert spool.corrupt == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


def test_a_write_that_fails_leaves_nothing_behind_and_the_next_one_starts_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    spool.append(messages(1))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            spool.append(messages(2))
    spool.append(messages(3))
    assert drained(spool) == messages(1, 3)
