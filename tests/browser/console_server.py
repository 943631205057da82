"""A console that a browser can open, and what axe and a narrow screen find wrong with its pages."""

import json
import threading
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from functions.dashboard.handler import Console
from functions.dashboard.identity import Identity, NobodyKnown
from tests.browser.page import Page
from tests.world import World

AXE = Path(__file__).parents[1] / "data" / "axe" / "axe.min.js"
RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"


class Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        pass


class Served:
    """A world and the address of its console."""

    def __init__(self, made: World, identity: Identity | None = None) -> None:
        self.made = made
        app = Flask(__name__)
        shown = Console(made.ports, made.audio, identity or NobodyKnown())

        @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
        @app.route("/<path:path>", methods=["GET", "POST"])
        def answer(path: str) -> Response:
            return shown.answer(request)

        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def problems(browser: Page) -> list[Any]:
    """Return what axe finds in the page with everything opened, and whether it is wider than the screen."""
    wide = browser.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    browser.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; }); true")
    browser.evaluate(f"{AXE.read_text(encoding='utf-8')}; true")
    found: list[Any] = json.loads(
        browser.evaluate(
            f"axe.run({{runOnly: {RULES}}}).then(found => JSON.stringify("
            "found.violations.map(each => [each.id, each.help, each.nodes.map(node => node.html + ' ' + node.failureSummary)])))"
        )
    )
    return [*found, *(["wider than the screen"] if wide else [])]
