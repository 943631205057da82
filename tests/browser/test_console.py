"""The console in a real browser: axe finds nothing, it fits a phone, keys suffice, recordings play, and it keeps itself fresh."""

from collections.abc import Iterator

import pytest

from functions.dashboard import pages
from shared import keys
from shared.documents import document_bytes, parse_document
from shared.training import RunProgress
from tests.browser.console_server import Served, problems
from tests.browser.page import Page
from tests.console_world import HOSTILE, console_world
from tests.world import World

pytestmark = pytest.mark.browser

PATHS = ("", "cycles/4", "cycles/3", "models/2", "cycles/99", "utterances/u140", "utterances?id=nobody")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served(console_world(cycles=4))
    yield served
    served.close()


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(served: Served, browser: Page, path: str, look: str) -> None:
    browser.show(width_px=360 if look == "phone" else 1280, height_px=800, dark=look == "dark")
    browser.open(served.url + path)
    assert [line for line in browser.console if "404" not in line] == []
    assert browser.dialogs == []
    assert {address.startswith(served.url) for address in browser.left} == {True}
    assert problems(browser) == []


def test_texts_of_others_are_text(served: Served, browser: Page) -> None:
    browser.open(served.url)
    assert HOSTILE in browser.evaluate("document.getElementById('refused').textContent")
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.dialogs == []


def test_the_first_key_leads_to_the_content(served: Served, browser: Page) -> None:
    browser.open(served.url)
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the content"
    browser.press("Enter")
    browser.wait_for("document.activeElement.id === 'main'")


def test_a_recording_plays(served: Served, browser: Page) -> None:
    browser.open(f"{served.url}cycles/2")
    browser.evaluate("const clip = document.querySelector('audio'); clip.muted = true; clip.play().then(() => true)")
    browser.wait_for("document.querySelector('audio').ended")
    assert browser.evaluate("document.querySelector('audio').duration") == pytest.approx(0.5, abs=0.02)


def test_an_open_page_keeps_itself_fresh_and_what_is_open_open(served: Served, browser: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LIVE_S", 0.1)
    browser.open(served.url)
    browser.evaluate("document.querySelector('#run details').open = true; true")
    tell(served.made, 0.321)
    browser.wait_for("document.getElementById('run').textContent.includes('0.321')")
    assert browser.evaluate("document.querySelector('#run details').open")
    browser.click("#live button")
    assert browser.evaluate("document.querySelector('#live button').textContent") == "Go on updating"
    tell(served.made, 0.123)
    browser.click("#live button")
    browser.wait_for("document.getElementById('run').textContent.includes('0.123')")
    assert browser.console == []


def test_a_page_that_gets_no_answer_says_so(browser: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LIVE_S", 0.1)
    served = Served(World())
    browser.open(served.url)
    served.close()
    browser.wait_for("document.getElementById('live').textContent.includes('not updated: no answer')")


def tell(made: World, loss: float) -> None:
    """Let the trainer of the running cycle tell another loss."""
    key = keys.progress(4)
    told = parse_document(RunProgress, made.store.get(key).data, what=key)
    made.store.put(key, document_bytes(told.model_copy(update={"loss": loss})))
