"""The local stack's Cloud Storage server in a process of its own, which counts its calls and takes as long as it is told for each.

    python -m tests.benchmarks.collector.slow_store FOLDER

Says its address in the first line. Then a line `latency SECONDS` sets how long a call takes from then on, and `counts` answers with a line
of JSON: calls by kind and the processor time so far. It ends with its standard input. The wait stands in the server's own threads, one a
connection: it costs the function neither processor time nor a thread that the answer would not cost.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from infra.local.gcs_server import GcsServer
from infra.local.gcs_server.routes import GcsApi
from infra.local.gcs_server.wire import Request, Response
from shared.dir_store import DirStore
from shared.head import begin_head
from tests.benchmarks.collector.processes import Child, start_module

BUCKET = "retune-bench"
Kind = Literal["writes", "reads", "lists"]
KINDS: tuple[Kind, ...] = ("writes", "reads", "lists")


class CountingApi(GcsApi):
    """`GcsApi` that counts and waits: half of the latency before a call takes effect, half of it before the answer."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.latency_s = 0.0
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Response:
        """Serve one request."""
        with self._lock:
            self.calls[kind_of(request)] += 1
        time.sleep(self.latency_s / 2)
        response = super().handle(request)
        time.sleep(self.latency_s / 2)
        return response


def kind_of(request: Request) -> str:
    """Tell a write, a read (an object or its description) and a list apart; the client looks at the bucket by itself, and that is "other"."""
    if request.method == "POST" and request.path[:1] == ("upload",):
        return "writes"
    if "o" not in request.path or request.method != "GET":
        return "other"
    return "lists" if request.path[-1] == "o" else "reads"


class CountingServer(GcsServer):
    """`GcsServer` over a `CountingApi`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.api = CountingApi(root)

    def start(self) -> "CountingServer":
        """Listen and serve."""
        super().start()
        assert self._http is not None
        self._http.api = self.api
        return self


class SlowStore:
    """The process, as the benchmark sees it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.url = child.read()
        self.pid = child.pid

    def set_latency(self, seconds: float) -> None:
        """Let each call take so long."""
        self._child.write(f"latency {seconds}")
        self._child.read()

    def counts(self) -> dict[str, float]:
        """Return calls by kind since the start, and `cpu_s`."""
        self._child.write("counts")
        found: dict[str, float] = json.loads(self._child.read())
        return found


@contextmanager
def slow_store(folder: Path) -> Iterator[SlowStore]:
    """Run the server while the block runs."""
    with start_module("slow_store", str(folder)) as child:
        yield SlowStore(child)


def main() -> int:
    """Serve until standard input ends."""
    folder = Path(sys.argv[1])
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    begin_head(DirStore(folder / BUCKET))
    with CountingServer(folder) as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            command, *arguments = line.split()
            if command == "latency":
                server.api.latency_s = float(arguments[0])
            print(json.dumps({**server.api.calls, "cpu_s": time.process_time()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
