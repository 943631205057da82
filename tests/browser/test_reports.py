"""Reports with hostile transcripts in a real browser: all of it is text, nothing runs, nothing leaves."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from markupsafe import escape

from functions.validator.report import render_html as validation_page
from infra.corpora.suite_history import Look, SuiteHistory, history_page
from shared.rates import Interval
from tests.browser.page import Page
from tests.unit.test_finetune_report import decided
from tests.unit.test_finetune_report import report as finetune_report
from tests.unit.test_validator_report import holdout
from tests.unit.test_validator_report import report as validation_report
from trainer.finetune.render import render_html as finetune_page

pytestmark = pytest.mark.browser


class Trap:
    """A server that a stranger waits at: every request that reaches it is one that left a page."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        trap = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                trap.seen.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "application/javascript")
                self.end_headers()
                self.wfile.write(b"alert('from outside')")

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


def payload(trap: Trap) -> str:
    """Return a transcript that tries to get out of every place where a page may put it."""
    return (
        f"</title></style></script></svg></textarea>\"'><script>alert(1)</script><script src={trap.url}/script></script>"
        f"<img src={trap.url}/image onerror=alert(2)><svg onload=alert(3)></svg><iframe src={trap.url}/frame></iframe>"
        f"<link rel=stylesheet href={trap.url}/style><style>@import '{trap.url}/import'; body {{ background: url({trap.url}/background) }}</style>"
        f"<object data={trap.url}/object></object><video src={trap.url}/video autoplay></video><form action={trap.url}/form></form>"
        f"<base href={trap.url}/base/><img src=relative><details open ontoggle=alert(4)></details>{{{{ 7*7 }}}}"
    )


def of_validation(evil: str) -> str:
    found = validation_report(holdout(candidate=evil, reference=evil))
    changes = {"reasons": (evil,), "notes": (evil,), "normaliser": evil, "left_out": {evil: {evil: 1}}}
    return validation_page(found.model_copy(update=changes))


def of_finetuning(evil: str) -> str:
    return finetune_page(finetune_report(decided(said=evil), heard=evil))


def of_a_suite(evil: str) -> str:
    look = Look(
        cycle=1,
        version=1,
        base_version=0,
        at=datetime(2026, 1, 5, tzinfo=UTC),
        outcome="accepted",
        decides=True,
        utterances=10,
        speakers=10,
        base=Interval(0.2, 0.1, 0.3, 0.95, 10),
        candidate=Interval(0.1, 0.05, 0.2, 0.95, 10),
        delta=Interval(-0.1, -0.2, 0.0, 0.95, 10),
        margin=0.01,
        suite_version="a" * 64,
    )
    return history_page(SuiteHistory(name=evil, looks=(look,)))


PAGES: dict[str, Callable[[str], str]] = {"validation": of_validation, "finetune": of_finetuning, "suite": of_a_suite}


def shown(browser: Page, folder: Path, html: str) -> str:
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    browser.open(path)
    return browser.text()


def test_what_would_run_and_leave_is_seen(browser: Page, trap: Trap, tmp_path: Path) -> None:
    """The control: without escaping and without a policy all of it happens, and this browser sees it."""
    shown(browser, tmp_path, f"<!DOCTYPE html><title>bare</title><body><p>{payload(trap)}")
    assert {"/script", "/image", "/frame", "/style", "/import", "/background", "/object"} <= set(trap.seen)
    assert {"1", "3", "from outside"} <= set(browser.dialogs)
    assert f"{trap.url}/image" in browser.left


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_hostile_transcript_is_read_as_it_was_said(browser: Page, trap: Trap, tmp_path: Path, page: Callable[[str], str]) -> None:
    evil = payload(trap)
    assert evil in shown(browser, tmp_path, page(evil))
    assert browser.dialogs == []
    assert browser.left == []
    assert browser.console == []
    assert trap.seen == []
    assert (
        browser.evaluate(
            "document.querySelectorAll('script, img, iframe, link, object, video, form, base, details, [onload], [onerror]').length"
        )
        == 0
    )
    assert browser.evaluate("document.querySelectorAll('style').length") == 1


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_if_escaping_failed_the_pages_policy_would_still_let_nothing_run_or_leave(
    browser: Page, trap: Trap, tmp_path: Path, page: Callable[[str], str]
) -> None:
    evil = payload(trap)
    head, body = page(evil).split("</head>", 1)
    shown(browser, tmp_path, f"{head}</head>{body.replace(str(escape(evil)), evil)}")
    assert browser.evaluate("document.scripts.length") > 0
    browser.evaluate("document.forms[0].submit()")
    assert browser.dialogs == []
    assert browser.left == []
    assert trap.seen == []
    assert any("Content Security Policy" in line for line in browser.console)
