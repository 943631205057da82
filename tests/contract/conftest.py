"""A Cloud Storage server behind a proxy that breaks what a test says."""

import gc
import threading
from collections.abc import Iterator

import pytest

from infra.local.gcs_server import GcsServer
from shared.dir_store import DirStore
from tests.gcs_proxy import Proxy


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    root = tmp_path_factory.mktemp("gcs")
    (root / "bucket").mkdir()
    with GcsServer(root) as server, Proxy(server.url, DirStore(root / "bucket")) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()
        gc.collect()


@pytest.fixture
def truth(proxy: Proxy) -> DirStore:
    """Return what is really in the bucket: nothing yet; and let every request pass."""
    proxy.plan = proxy.passing
    proxy.lines.clear()
    for key in list(proxy.truth.keys("")):
        proxy.truth.delete(key)
    return proxy.truth
