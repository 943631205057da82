"""The client's router on the real Cloud Storage client while the server fails: only whole models serve, and the old one until then."""

from pathlib import Path
from typing import Any

import pytest
from retune_client import GcsModelStore, ModelRouter
from retune_client.testing import ManualClock, MemoryModelStore

from shared.dir_store import DirStore
from tests.gcs_proxy import BUCKET, CUT, PASS, REFUSED, SHORT, TRUNCATED, UNCLOSED, Proxy, first

pytestmark = UNCLOSED

WEIGHTS = {version: f"weights of v{version}, ".encode() * 20_000 for version in (1, 2)}

DOWNLOAD_2 = f"GET /download/storage/v1/b/{BUCKET}/o/models%2F000002%2Fmodel"


@pytest.fixture
def bucket(truth: DirStore) -> DirStore:
    """v1 serves; v2 is there, and nobody has promoted it."""
    made = MemoryModelStore()
    for version, weights in WEIGHTS.items():
        made.put_model(version, {"model.safetensors": weights})
    made.put_production(1, 1)
    for key, data in made.objects.items():
        truth.put(key, data)
    return truth


@pytest.fixture
def router(bucket: DirStore, client: Any, tmp_path: Path) -> Any:
    store = GcsModelStore(BUCKET, client=client)
    with ModelRouter(store, tmp_path, lambda folder, _: (folder / "model.safetensors").read_bytes(), clock=ManualClock()) as made:
        made.refresh()
        yield made


def promote_2(bucket: DirStore) -> None:
    moved = MemoryModelStore()
    moved.put_production(2, 2)
    bucket.put("registry/production.json", moved.objects["registry/production.json"])


def test_a_download_that_always_comes_short_leaves_the_old_model_until_it_comes_whole(
    proxy: Proxy, bucket: DirStore, router: ModelRouter[bytes], tmp_path: Path
) -> None:
    proxy.plan = lambda _number, line: SHORT if line.startswith(DOWNLOAD_2) else PASS
    promote_2(bucket)
    status = router.refresh()
    assert (status.seq, status.stable, status.wanted, list(status.problems)) == (2, 1, (2,), ["v2"])
    assert router.choose("anyone").model == WEIGHTS[1]
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    proxy.plan = lambda _number, _line: PASS
    assert router.refresh().problems == {}
    assert router.choose("anyone").model == WEIGHTS[2]


@pytest.mark.parametrize("read", [DOWNLOAD_2, "GET"], ids=["weights", "alias"])
@pytest.mark.parametrize("fate", [CUT, REFUSED, "429", "503", TRUNCATED])
def test_a_read_that_fails_once_is_made_again(proxy: Proxy, bucket: DirStore, router: ModelRouter[bytes], read: str, fate: str) -> None:
    promote_2(bucket)
    proxy.lines.clear()
    proxy.plan = first(fate, read)
    assert router.refresh().problems == {}
    assert router.choose("anyone").model == WEIGHTS[2]
    struck, *later = [line.partition("?")[0] for line in proxy.lines if line.startswith(read)]
    assert struck in later
