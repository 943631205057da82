"""A page in a headless Chromium: open it, read it, act on it, and see every request, console line, dialog and script error."""

import base64
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.browser.devtools import DevTools, DevToolsError, Event

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Nothing but loopback can be reached, and what a browser asks its maker for by itself is off.
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--proxy-server=direct://",
    "--password-store=basic",
    "--window-size=1280,900",
)
WAIT_S = 20.0


def find_browser() -> str | None:
    """Return the Chromium or Chrome of this machine: `RETUNE_BROWSER`, else the first of `NAMES` on the PATH."""
    return os.environ.get("RETUNE_BROWSER") or next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Request:
    """A request that a page tried. `blocked` = why the browser let none of it out, such as `csp`; None = it left."""

    url: str
    kind: str
    blocked: str | None = None


class Browser:
    """A headless Chromium with a profile of its own, in `folder`."""

    def __init__(self, executable: str, folder: Path) -> None:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to be root
        self._log = (folder / "browser.log").open("wb")
        try:
            self.tools = DevTools([executable, *FLAGS, *root, f"--user-data-dir={folder / 'profile'}"], self._log)
            self.version: str = self.tools.send("Browser.getVersion")["product"]
        except DevToolsError as error:
            raise DevToolsError(
                f"{executable}: {error}; it wrote {(folder / 'browser.log').read_text(errors='replace')[-2000:]!r}"
            ) from error

    def page(self) -> "Page":
        """Return an empty page that shares no cookie, storage or cache with any other."""
        return Page(self.tools)

    def close(self) -> None:
        """End the browser."""
        self.tools.close()
        self._log.close()


class Page:
    """One tab, of a context of its own.

    Attributes:
        console: what the page and the browser wrote there, as "level: text"; refusals by a CSP and script errors too.
        dialogs: the text of each alert, confirm or prompt; all are dismissed.
        requests: all that was tried since the page was opened, the document itself first.
    """

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools
        self._context: str = tools.send("Target.createBrowserContext")["browserContextId"]
        target = tools.send("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session: str = tools.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.console: list[str] = []
        self.dialogs: list[str] = []
        self.requests: list[Request] = []
        self._latest: dict[str, Request] = {}  # by the browser's id, which a redirected request keeps
        self._loaded: set[str] = set()  # loaders whose load event has come
        tools.listen(self._session, self._take)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")
        self._send("Page.setLifecycleEventsEnabled", enabled=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def left(self) -> list[str]:
        """Addresses of the requests that left the browser; files and data: URLs are none."""
        return [each.url for each in self.requests if each.blocked is None and not each.url.startswith(("file:", "data:", "about:"))]

    def open(self, where: str | Path) -> None:
        """Open a file or an address and wait until all of it, subresources included, is loaded.

        Raises:
            DevToolsError: nothing answers there, or it was not loaded within 20 s.
        """
        url = where.resolve().as_uri() if isinstance(where, Path) else where
        self.console.clear()
        self.dialogs.clear()
        self.requests.clear()
        found = self._send("Page.navigate", url=url)
        if "errorText" in found:
            raise DevToolsError(f"{url}: {found['errorText']}")
        self._tools.wait_for(lambda: found["loaderId"] in self._loaded, f"{url} to be loaded", WAIT_S)

    def text(self) -> str:
        """Return the text as a person sees it."""
        return str(self.evaluate("document.body.innerText"))

    def evaluate(self, script: str) -> Any:
        """Return the JSON value of an expression, or of the promise that it gives; a CSP does not concern it.

        Raises:
            DevToolsError: the script threw.
        """
        found = self._send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise DevToolsError(f"{script}: {details.get('exception', {}).get('description', details['text'])}")
        return found["result"].get("value")

    def wait_for(self, condition: str, timeout_s: float = WAIT_S) -> None:
        """Wait until an expression is true in the page; it may wait across a navigation.

        Raises:
            DevToolsError: it was not within `timeout_s`; says what the page shows.
        """
        script = f"""new Promise(resolve => {{
            const end = Date.now() + {timeout_s * 1000};
            const look = () => ({condition}) ? resolve(true) : Date.now() > end ? resolve(false) : setTimeout(look, 20);
            look();
        }})"""
        if not self._across_navigations(script):
            raise DevToolsError(f"expected {condition} within {timeout_s:g} s, found {self.text()[:2000]!r}")

    def _across_navigations(self, script: str) -> Any:
        """Evaluate a script, once more for each of two navigations under way."""
        for _ in range(2):
            try:
                return self.evaluate(script)
            except DevToolsError as error:
                if "navigated" not in str(error) and "context" not in str(error):
                    raise
        return self.evaluate(script)

    def click(self, selector: str) -> None:
        """Click the middle of the first element that a CSS selector finds, with the mouse: what covers it gets the click.

        Raises:
            DevToolsError: there is none.
        """
        box = self.evaluate(f"""(() => {{
            const found = document.querySelector({json.dumps(selector)});
            if (!found) return null;
            found.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        if box is None:
            raise DevToolsError(f"expected an element {selector}, found none in {self.text()[:2000]!r}")
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Put text into a field, as a person who replaces what stands there."""
        self.evaluate(f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.focus(); field.select?.(); }})()")
        self._send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press one key, by its name: Enter, Tab, Escape, ArrowDown."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}.get(key, 0)
        text = {"text": "\r"} if key == "Enter" else {}
        self._send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self._send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def show(self, *, width_px: int = 1280, height_px: int = 900, dark: bool = False) -> None:
        """Give the page a size, and the colours that a person prefers."""
        self._send("Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if dark else "light"
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, `whole` beyond what the window shows."""
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def close(self) -> None:
        """Close the tab and forget all that it stored."""
        self._tools.forget(self._session)
        self._tools.send("Target.disposeBrowserContext", browserContextId=self._context)

    def _send(self, method: str, **params: Any) -> Event:
        return self._tools.send(method, self._session, **params)

    def _take(self, event: Event) -> None:
        """Keep what an event tells; called by the reading thread, under the lock that `wait_for` holds."""
        params = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                self._latest[params["requestId"]] = Request(params["request"]["url"], params.get("type", "Other"))
                self.requests.append(self._latest[params["requestId"]])
            case "Network.loadingFailed" if params["requestId"] in self._latest:
                self._latest[params["requestId"]].blocked = params.get("blockedReason")
            case "Page.lifecycleEvent" if params["name"] == "load":
                self._loaded.add(params["loaderId"])
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["message"])
                self._tools.post("Page.handleJavaScriptDialog", self._session, accept=False)
            case "Runtime.consoleAPICalled":
                texts = (str(each.get("value", each.get("description", each["type"]))) for each in params["args"])
                self.console.append(f"{params['type']}: {' '.join(texts)}")
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.console.append(f"error: {details.get('exception', {}).get('description', details['text'])}")
            case "Log.entryAdded":
                self.console.append(f"{params['entry']['level']}: {params['entry']['text']}")
