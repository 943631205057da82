"""How many connections to Cloud Storage are kept for later requests."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.dir_store import DirStore
from shared.gcs_store import GcsStore
from tests.gcs_proxy import BUCKET, Proxy

THREADS = 18
"""A page of the console reads with so many at least."""


def test_as_many_threads_as_a_page_reads_with_find_their_connections_again(
    proxy: Proxy, truth: DirStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    truth.put("k", b"1")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    store = GcsStore(BUCKET)
    store.stat("k")
    all_at_once = threading.Barrier(THREADS, timeout=30.0)
    monkeypatch.setattr(proxy, "answered", lambda _fate: all_at_once.wait())
    with caplog.at_level("WARNING", logger="urllib3.connectionpool"), ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(store.stat, ["k"] * THREADS))
    assert [info.key for info in found] == ["k"] * THREADS
    assert not caplog.messages
