"""What strangers wrote is text, in a page and on a terminal."""

import pytest
from rich.table import Table

from functions.validator.report import render_html
from infra.terminal import show
from shared.documents import Frozen
from tests.html_check import Page
from tests.unit.test_validator_report import holdout, report

EVIL = "</style></title></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}"


def test_no_field_of_a_report_becomes_markup() -> None:
    found = report(holdout(candidate=EVIL, reference=EVIL))
    forged = found.model_copy(
        update={
            "reasons": (EVIL,),
            "notes": (EVIL,),
            "normaliser": EVIL,
            "left_out": {EVIL: {EVIL: 1}},
            "sets": tuple(each.model_copy(update={"name": EVIL}) for each in found.sets),
        }
    )
    page = Page(render_html(forged))
    assert {"script", "img"}.isdisjoint(page.tags)
    assert "onerror" not in page.attributes
    assert page.tags.count("style") == 1
    assert EVIL in page.text


def test_brackets_in_a_reason_are_no_markup_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("reason")
    table.add_row("[/no] [red]such tag :smile:")
    show(Frozen(), table, as_json=False)
    assert "[/no] [red]such tag :smile:" in capsys.readouterr().out
