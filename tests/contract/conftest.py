"""A bucket of the local Cloud Storage server behind a proxy that breaks what a test says."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from infra.local.gcs_server import GcsServer
from shared.dir_store import DirStore
from tests.gcs_proxy import BUCKET, PASS, Proxy


@pytest.fixture(scope="module")
def bucket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gcs") / BUCKET
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def proxy(bucket_folder: Path) -> Iterator[Proxy]:
    """The client forgets to close the connection of a download that it tries again: they are closed with the garbage, at the end."""
    with GcsServer(bucket_folder.parent) as server, Proxy(server.url) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()
        gc.collect()


@pytest.fixture
def truth(proxy: Proxy, bucket_folder: Path) -> DirStore:
    """What is really in the bucket: nothing at first, and nothing breaks yet."""
    proxy.plan = lambda _number, _line: PASS
    proxy.lines.clear()
    store = DirStore(bucket_folder)
    for key in list(store.keys("")):
        store.delete(key)
    return store


@pytest.fixture
def client(proxy: Proxy, truth: DirStore) -> Iterator[storage.Client]:
    made = storage.Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url})
    yield made
    made.close()


@pytest.fixture
def other_client(proxy: Proxy, truth: DirStore) -> Iterator[storage.Client]:
    """A client of a second process, for which nothing breaks."""
    host, port = proxy.upstream
    made = storage.Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": f"http://{host}:{port}"})
    yield made
    made.close()
