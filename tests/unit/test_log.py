"""The log: one JSON line per thing that happened."""

import io
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.log import bind, fresh, log


@pytest.fixture(autouse=True)
def no_context() -> None:
    fresh()


def written(message: str, **fields: Any) -> dict[str, Any]:
    """Log and return the one line that came of it."""
    stream = io.StringIO()
    log(message, stream=stream, **fields)
    (line,) = stream.getvalue().split("\n")[:-1]
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_line_has_severity_message_and_fields() -> None:
    assert written("cycle 7 opened", cycle=7) == {"severity": "INFO", "message": "cycle 7 opened", "cycle": 7}


def test_line_breaks_quotes_and_foreign_letters_stay_inside_one_line() -> None:
    message = 'first\nsecond\r\u2028"third" \u00e9\U0001f642'
    assert written(message, severity="ERROR", who="a\nb") == {"severity": "ERROR", "message": message, "who": "a\nb"}


def test_what_is_none_is_left_out() -> None:
    assert written("x", cycle=None, trace=None) == {"severity": "INFO", "message": "x"}


def test_what_is_no_json_is_written_as_text() -> None:
    line = written("x", at=datetime(2026, 1, 5, tzinfo=UTC), folder=Path("/srv"), error=ValueError("no"))
    assert (line["at"], line["folder"], line["error"]) == ("2026-01-05 00:00:00+00:00", "/srv", "no")


def test_bound_fields_stand_on_every_later_line_and_a_lines_own_field_wins() -> None:
    bind(event_id="e1", cycle=1)
    bind(cycle=2)
    assert written("x") == {"severity": "INFO", "message": "x", "event_id": "e1", "cycle": 2}
    assert written("x", cycle=3)["cycle"] == 3
    assert written("x")["cycle"] == 2


def test_a_request_starts_with_its_own_fields_alone() -> None:
    bind(event_id="e1")
    fresh(function="collector")
    assert written("x") == {"severity": "INFO", "message": "x", "function": "collector"}


def test_threads_do_not_see_each_others_fields() -> None:
    bind(event_id="mine")
    lines: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: lines.append(written("x")))
    other.start()
    other.join()
    assert lines == [{"severity": "INFO", "message": "x"}]


def test_a_line_goes_to_standard_output_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    log("x", severity="WARNING")
    assert capsys.readouterr().out == '{"severity": "WARNING", "message": "x"}\n'
