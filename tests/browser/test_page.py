"""The helper itself: what a person does and sees in a page."""

import socket
from pathlib import Path

import pytest

from tests.browser.devtools import DevToolsError
from tests.browser.page import Browser, Page

pytestmark = pytest.mark.browser

FORM = """<!DOCTYPE html><title>form</title><body><style>@media (prefers-color-scheme: dark) { body { background: black } }</style>
<input id=name value=old><button id=go disabled onclick="setTimeout(() => { document.body.append('hello ' + document.querySelector('#name').value) }, 30)">Go</button>
<script>
const field = document.querySelector('#name');
field.oninput = () => { document.querySelector('#go').disabled = false };
field.onkeydown = event => console.log('pressed', event.key);
localStorage.setItem('seen', (localStorage.getItem('seen') ?? '') + 'x');
</script>"""


@pytest.fixture
def form(tmp_path: Path) -> Path:
    path = tmp_path / "form.html"
    path.write_text(FORM)
    return path


def test_a_person_types_clicks_and_reads(browser: Page, form: Path) -> None:
    browser.open(form)
    browser.type("#name", "Ada")
    browser.press("Enter")
    browser.click("#go")
    browser.wait_for("document.body.innerText.includes('hello')")
    assert "hello Ada" in browser.text()
    assert browser.console == ["log: pressed Enter"]
    assert [request.kind for request in browser.requests] == ["Document"]
    with pytest.raises(DevToolsError, match="expected an element #absent, found none"):
        browser.click("#absent")
    with pytest.raises(DevToolsError, match="found 'Go hello Ada'"):
        browser.wait_for("false", timeout_s=0.1)


def test_what_goes_wrong_in_a_page_is_on_its_console(browser: Page, tmp_path: Path) -> None:
    (tmp_path / "wrong.html").write_text("<!DOCTYPE html><title>wrong</title><script>prompt('who?'); absent()</script><img src=gone.png>")
    browser.open(tmp_path / "wrong.html")
    assert browser.dialogs == ["who?"]
    assert any(line.startswith("error: ReferenceError: absent") for line in browser.console)
    assert any("ERR_FILE_NOT_FOUND" in line for line in browser.console)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        with pytest.raises(DevToolsError, match="ERR_CONNECTION_REFUSED"):
            browser.open(f"http://127.0.0.1:{nobody.getsockname()[1]}/")


def test_pages_share_nothing_and_are_shown_as_asked(chromium: Browser, form: Path, tmp_path: Path) -> None:
    with chromium.page() as first, chromium.page() as second:
        first.open(form)
        second.open(form)
        assert second.evaluate("localStorage.getItem('seen')") == "x"
        second.show(width_px=320, height_px=600, dark=True)
        assert second.evaluate("[innerWidth, getComputedStyle(document.body).backgroundColor]") == [320, "rgb(0, 0, 0)"]
        second.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_waiting_goes_on_across_a_navigation(browser: Page, form: Path) -> None:
    (form.parent / "start.html").write_text(
        "<!DOCTYPE html><title>start</title><a href=# onclick=\"setTimeout(() => location = 'form.html', 100)\">on</a>"
    )
    browser.open(form.parent / "start.html")
    browser.click("a")
    browser.wait_for("document.querySelector('#name') !== null")
    assert browser.requests[-1].url == form.as_uri()
