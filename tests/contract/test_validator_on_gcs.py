"""The validator on the real Cloud Storage client while the server fails: one report, and a redelivery ends it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from google.cloud import storage

from functions.runtime import Ports
from functions.validator.handler import handle
from shared import keys
from shared.cycle import CODEC, Status
from shared.dir_store import DirStore
from shared.documents import sha256_hex
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable
from shared.testing.clock import FakeClock
from shared.verdict import parse_report
from tests.faults import Sink
from tests.gcs_proxy import CUT, PASS, REFUSED, UNCLOSED, Proxy, at_write, meanwhile, quick_store
from tests.property.test_validator_faults import completed, undisturbed, world

pytestmark = UNCLOSED

WRITES = 5
"""The state twice, closure, report and page."""
REPORT_WRITE = 3
"""The report is the third of them."""
FATES = [CUT, REFUSED, "429", "503", "412"]


@pytest.fixture
def bucket(truth: DirStore) -> DirStore:
    """Return what is really in the bucket: a cycle that is trained and that nobody has judged."""
    for info in world().store.list(""):
        truth.put(info.key, world().store.get(info.key).data)
    return truth


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def ports(bucket: DirStore, client: storage.Client, sink: Sink) -> Ports:
    return replace(world().ports, store=quick_store(client), publisher=sink)


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_whichever_write_fails_there_is_one_report(proxy: Proxy, bucket: DirStore, ports: Ports, sink: Sink, fate: str, write: int) -> None:
    proxy.plan = at_write(write, lambda: fate)
    for _ in range(2):  # a raise is a redelivery; a duplicate changes nothing
        try:
            handle(completed(), ports)
        except (Conflict, CommitUnknown, Retryable, NotFound):
            handle(completed(), ports)
    assert sum(line.startswith("POST") for line in proxy.lines) >= WRITES
    assert CODEC.parse(bucket.get(keys.state(1)).data).status == Status.ACCEPTED
    assert parse_report(bucket.get(keys.report(1)).data) == undisturbed().report()
    assert {message.data for message in sink.sent} == {message.data for message in undisturbed().sink.sent}


@pytest.mark.parametrize("fate", ["429", "503"])
def test_a_store_that_throttles_every_third_request_only_slows_it(proxy: Proxy, bucket: DirStore, ports: Ports, fate: str) -> None:
    proxy.plan = lambda number, _line: PASS if number % 3 else fate
    handle(completed(), ports)
    assert len(proxy.lines) > 20
    assert CODEC.parse(bucket.get(keys.state(1)).data).status == Status.ACCEPTED


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_of_two_validators_at_once_the_slower_one_announces_the_report_of_the_other(
    proxy: Proxy, bucket: DirStore, ports: Ports, other_client: storage.Client, sink: Sink, write: int
) -> None:
    later = replace(ports, store=quick_store(other_client), clock=FakeClock(ports.clock.now() + timedelta(minutes=1)))
    said: list[str] = []
    proxy.plan = meanwhile(write, lambda: said.append(handle(completed(), later)))
    said.append(handle(completed(), ports))
    assert len(said) == 2
    assert CODEC.parse(bucket.get(keys.state(1)).data).status == Status.ACCEPTED
    stored = bucket.get(keys.report(1)).data
    assert parse_report(stored).created_at == (later if write <= REPORT_WRITE else ports).clock.now()
    assert [json.loads(data)["report_sha256"] for data in {message.data for message in sink.sent}] == [sha256_hex(stored)]
