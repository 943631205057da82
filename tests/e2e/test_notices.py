"""Where webhooks are set the local stack runs the notifier: the first model's deployment is told, and signed."""

import hashlib
import hmac
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from tests.e2e.local_stack import DEADLINE_S, POLICY, install_model

SECRET = "between us"


@pytest.fixture
def posted() -> Iterator[tuple[str, "queue.Queue[tuple[bytes, str]]"]]:
    """The address of a webhook, and what is posted there: body and signature."""
    taken: queue.Queue[tuple[bytes, str]] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.put((self.rfile.read(int(self.headers["Content-Length"])), self.headers.get("X-Retune-Signature", "")))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", taken
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_deployment_on_the_local_stack_reaches_the_webhook(posted: tuple[str, "queue.Queue[tuple[bytes, str]]"], tmp_path: Path) -> None:
    address, taken = posted
    webhooks = json.dumps([{"url": address, "secret": SECRET}])
    config = StackConfig(directory=tmp_path / "stack", policy=POLICY, tick_s=1.0, environ={"RETUNE_WEBHOOKS": webhooks})
    with Stack(config) as stack, variables_set(stack.env):
        install_model(stack)
        body, signed = taken.get(timeout=DEADLINE_S)
    told = json.loads(body)
    assert (told["notice"]["title"], told["event"]["type"], told["event"]["stable"]) == ("v0 is deployed", "ModelDeployed", 0)
    assert signed == f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"
    assert address not in stack.functions_log.read_text()
