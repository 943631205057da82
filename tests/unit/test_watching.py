"""Watching shows each change once in a pipe, and ends well with Ctrl-C."""

import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from infra.watching import looks, watch


class Seen(BaseModel):
    at: int
    value: str


def until_stopped(*views: Seen) -> Iterator[Seen]:
    yield from views
    raise KeyboardInterrupt


def test_in_a_pipe_each_change_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    views = until_stopped(Seen(at=1, value="a"), Seen(at=2, value="a"), Seen(at=3, value="b"))
    watch(views, lambda view: f"{view.at} {view.value}", same=lambda view: view.value, as_json=False)
    assert capsys.readouterr().out.split("\n") == ["1 a", "3 b", ""]


def test_for_machines_each_change_is_a_document_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    views = until_stopped(Seen(at=1, value="a"), Seen(at=2, value="a"), Seen(at=3, value="b"))
    watch(views, lambda view: view.value, same=lambda view: view.value, as_json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"at": 1, "value": "a"}, {"at": 3, "value": "b"}]


def test_it_looks_at_once_and_then_after_each_pause() -> None:
    pauses: list[float] = []
    numbers = iter(range(1, 10))
    seen = looks(lambda: Seen(at=next(numbers), value=""), every_s=2.5, pause=pauses.append)
    assert [next(seen).at for _ in range(3)] == [1, 2, 3]
    assert pauses == [2.5, 2.5]
