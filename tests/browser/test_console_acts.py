"""People act in the console with a real browser: no script needed, keys suffice, axe finds nothing, and another site can do nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from functions.dashboard import pages
from functions.dashboard.identity import LocalUser
from infra.options import me
from shared import keys
from shared.cas import create
from shared.cycle import CODEC, Status
from shared.documents import lines_bytes
from tests.browser.console_server import Served, problems
from tests.browser.page import Page
from tests.console_world import HOSTILE, console_world, wav_bytes
from tests.e2e.local_stack import POLICY, errors, install_model, publish, running, until
from tests.unit.test_gold_policy import ASKING, launched, record, spec_of, unlabelled_names
from tests.world import opened_world

pytestmark = pytest.mark.browser

ANA = LocalUser("ana")


@pytest.fixture(scope="module")
def canary() -> Iterator[Served]:
    """A world to look at: v2 on canary beside v0, and nobody sends a form."""
    served = Served(console_world(cycles=2, ending="canary"), ANA)
    yield served
    served.close()


@pytest.fixture
def waiting() -> Iterator[Served]:
    served = Served(opened_world(auto_approve_finetuning=False), ANA)
    yield served
    served.close()


@pytest.fixture(scope="module")
def gold() -> Iterator[tuple[Served, str]]:
    """Gold of one recording that waits for a person, and that recording's name."""
    made = launched(ASKING, corrected=40, uncorrected=40)
    numbers = [int(name[1:]) for name in unlabelled_names(made, spec_of(made))]
    create(made.store, keys.gold(1), lines_bytes([record(numbers[0], "review"), record(numbers[1], "review", HOSTILE)]))
    served = Served(made, ANA)
    yield served, f"u{numbers[0]}"
    served.close()


def show(browser: Page, look: str) -> None:
    browser.show(width_px=360 if look == "phone" else 1280, height_px=800, dark=look == "dark")


def send(browser: Page, then: str) -> None:
    """Press the form's button and wait for the page that follows."""
    browser.click("main form button")
    browser.wait_for(f"document.readyState === 'complete' && ({then})")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
@pytest.mark.parametrize(
    "path", ["", "cycles/2", "models/2", "models/2/rollback", "models/2/promote", "models/0/promote", "cycles/2/cancel"]
)
def test_axe_finds_nothing_in_what_an_operator_sees(canary: Served, browser: Page, path: str, look: str) -> None:
    show(browser, look)
    browser.open(canary.url + path)
    assert browser.console == []
    assert problems(browser) == []


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_in_a_form_that_comes_back(waiting: Served, browser: Page, look: str) -> None:
    show(browser, look)
    browser.open(f"{waiting.url}cycles/1/approve")
    browser.evaluate("document.getElementById('reason').required = false; true")
    send(browser, "document.querySelector('[role=alert]')")
    assert problems(browser) == []
    browser.type("#reason", "because")
    send(browser, "location.pathname.match(/approve\\/[0-9a-f]{32}$/)")
    assert problems(browser) == []


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
@pytest.mark.parametrize("form", [False, True])
def test_axe_finds_nothing_in_the_review_of_gold(gold: tuple[Served, str], browser: Page, look: str, form: bool) -> None:
    served, name = gold
    show(browser, look)
    browser.open(f"{served.url}cycles/1/review" + (f"?utterance={name}" if form else ""))
    assert browser.console == []
    assert problems(browser) == []


def test_the_browser_asks_for_a_reason_before_anything_is_sent(waiting: Served, browser: Page) -> None:
    browser.open(f"{waiting.url}cycles/1/approve")
    browser.click("main form button")
    assert browser.evaluate("document.querySelector('#reason').validity.valueMissing")
    assert [each for each in browser.requests if each.kind == "Document"] == browser.requests[:1]


def test_keys_alone_suffice(waiting: Served, browser: Page) -> None:
    browser.open(f"{waiting.url}cycles/1")
    browser.evaluate("document.getElementById('main').focus(); true")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Approve cycle 1"
    browser.press("Enter")
    browser.wait_for("document.readyState === 'complete' && document.getElementById('reason')")
    browser.evaluate("document.getElementById('main').focus(); true")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.id") == "reason"
    browser.type("#reason", "because")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Approve cycle 1"
    browser.press("Enter")
    browser.wait_for("document.readyState === 'complete' && document.body.textContent.includes('Nothing yet')")
    waiting.made.settle()
    assert waiting.made.state(1).history[1].by == "ana via console (claimed)"


def test_what_came_of_it_appears_by_itself(waiting: Served, browser: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LIVE_S", 0.1)
    browser.open(f"{waiting.url}cycles/1/approve")
    browser.type("#reason", HOSTILE)
    send(browser, "document.body.textContent.includes('Nothing yet')")
    waiting.made.settle()
    browser.wait_for("document.getElementById('headline').textContent === 'Approve cycle 1: done'")
    assert HOSTILE in browser.evaluate("document.getElementById('answer').textContent")
    assert browser.dialogs == []
    assert browser.console == []


def test_a_recording_is_heard_and_its_text_mended(browser: Page) -> None:
    made = launched(ASKING, corrected=40, uncorrected=40, audio=wav_bytes)
    number = int(unlabelled_names(made, spec_of(made))[0][1:])
    create(made.store, keys.gold(1), lines_bytes([record(number, "review")]))
    served = Served(made, ANA)
    try:
        browser.open(f"{served.url}cycles/1/review")
        browser.click(".clip .act")
        browser.wait_for("document.readyState === 'complete' && document.getElementById('text')")
        browser.evaluate("const clip = document.querySelector('audio'); clip.muted = true; clip.play().then(() => true)")
        browser.wait_for("document.querySelector('audio').ended")
        browser.type("#text", "fell back")
        browser.type("#reason", "heard twice")
        send(browser, "document.getElementById('said')")
        made.settle()
        browser.open(f"{served.url}cycles/1/review")
        assert "fell back" in browser.evaluate("document.getElementById('answered').textContent")
    finally:
        served.close()


class Evil(BaseHTTPRequestHandler):
    """Another site, with a form for the console."""

    target = ""

    def do_GET(self) -> None:
        page = f"<form method=post action='{self.target}'><input name=reason value=because><input name=token value=x></form>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_another_sites_form_does_nothing(waiting: Served, browser: Page) -> None:
    browser.open(f"{waiting.url}cycles/1/approve")
    server = HTTPServer(("127.0.0.1", 0), type("Aimed", (Evil,), {"target": f"{waiting.url}cycles/1/approve"}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        browser.open(f"http://localhost:{server.server_port}/")
        browser.evaluate("document.forms[0].submit(); true")
        browser.wait_for("document.readyState === 'complete' && document.body.textContent.includes('another site sent this form')")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    waiting.made.settle()
    assert waiting.made.state(1).status == Status.AWAITING_APPROVAL


def test_the_console_cannot_be_put_into_a_frame(waiting: Served, browser: Page) -> None:
    browser.open(waiting.url)
    browser.evaluate(
        f"const frame = document.createElement('iframe'); frame.src = '{waiting.url}cycles/1/approve'; document.body.append(frame); true"
    )
    browser.wait_for("document.querySelector('iframe')")
    assert not browser.evaluate("document.querySelector('iframe').contentDocument?.querySelector('form')")
    assert any("Content Security Policy" in line or "frame-ancestors" in line for line in browser.console)


def test_on_the_local_stack_an_approval_ends_in_the_audit_log(browser: Page, tmp_path: Path) -> None:
    with running(tmp_path, policy=POLICY.model_copy(update={"auto_approve_finetuning": False})) as stack:
        install_model(stack)
        publish(stack, errors(stack, 60))
        until(lambda: keys.state(1) in {info.key for info in stack.store.list(keys.CYCLES)}, "cycle 1 to wait for approval")
        browser.open(stack.console)
        browser.click("#run .act")
        browser.wait_for("document.readyState === 'complete' && document.getElementById('reason')")
        browser.type("#reason", "new product names")
        send(browser, "location.pathname.includes('/approve/')")
        until(lambda: len(CODEC.parse(stack.store.get(keys.state(1)).data).history) > 1, "the approval")
        browser.open(stack.console)
        row = browser.evaluate("document.querySelector('#audit').textContent")
        assert f"{me()} via console (claimed)" in row
        assert "new product names" in row
        assert browser.console == []
