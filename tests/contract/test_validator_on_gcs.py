"""The validator on the real Cloud Storage client while the server fails: one report, and a redelivery ends it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from functions.runtime import Ports
from functions.validator.handler import handle
from shared import keys
from shared.cycle import CODEC, Status
from shared.dir_store import DirStore
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable
from shared.gcs_store import GcsStore
from shared.verdict import parse_report
from tests.gcs_proxy import CUT, PASS, REFUSED, Proxy
from tests.property.test_validator_faults import Sink, completed, trained, undisturbed

# The client forgets to close the connection of a download that it tries again: they are closed with the garbage, by the last test.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

WRITES = 5
"""The state twice, closure, report and page."""
FATES = [CUT, REFUSED, "429", "503", "412"]


@pytest.fixture
def bucket(truth: DirStore) -> DirStore:
    """Return what is really in the bucket: a cycle that is trained and that nobody has judged."""
    world = trained()
    for info in world.store.list(""):
        truth.put(info.key, world.store.get(info.key).data)
    return truth


@pytest.fixture
def ports(proxy: Proxy, bucket: DirStore) -> Iterator[Ports]:
    client = storage.Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url})
    store = GcsStore("bucket", client, deadline_s=1.0)
    store._retry = store._retry.with_delay(initial=0.01, maximum=0.02)
    yield replace(trained().ports, store=store, publisher=Sink())
    client.close()


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_whichever_write_fails_there_is_one_report(proxy: Proxy, bucket: DirStore, ports: Ports, fate: str, write: int) -> None:
    posts: list[str] = []

    def plan(_number: int, line: str) -> str:
        if not line.startswith("POST"):
            return PASS
        posts.append(line)
        return fate if len(posts) == write else PASS

    proxy.plan = plan
    for _ in range(2):  # a raise is a redelivery; a duplicate changes nothing
        try:
            handle(completed(), ports)
        except (Conflict, CommitUnknown, Retryable, NotFound):
            handle(completed(), ports)
    assert len(posts) >= WRITES
    assert CODEC.parse(bucket.get(keys.state(1)).data).status == Status.ACCEPTED
    expected, found = parse_report(undisturbed()[1][1]), parse_report(bucket.get(keys.report(1)).data)
    assert found == expected
    assert isinstance(ports.publisher, Sink)
    assert set(ports.publisher.told) == undisturbed()[2]


@pytest.mark.parametrize("fate", ["429", "503"])
def test_a_store_that_throttles_every_third_request_only_slows_it(proxy: Proxy, bucket: DirStore, ports: Ports, fate: str) -> None:
    proxy.plan = lambda number, _line: PASS if number % 3 else fate
    handle(completed(), ports)
    assert len(proxy.lines) > 20
    assert CODEC.parse(bucket.get(keys.state(1)).data).status == Status.ACCEPTED
