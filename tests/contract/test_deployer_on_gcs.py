"""The deployer on the real Cloud Storage client while the server fails: nothing half deployed, and a redelivery ends it."""

from dataclasses import replace
from typing import Any

import pytest

from functions.deployer.handler import handle
from functions.runtime import Ports
from shared import keys
from shared.bus import Message
from shared.cycle import CODEC as STATES
from shared.cycle import Status
from shared.documents import parse_document
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable
from shared.objectstore import ObjectStore
from shared.registry import CODEC, Move
from shared.testing import builders
from tests.gcs_proxy import CUT, PASS, REFUSED, UNCLOSED, Proxy, at_write, meanwhile, quick_store
from tests.world import World, trained_world

pytestmark = UNCLOSED

WRITES = 3
"""A promotion writes the alias, the state of the cycle and the audit record."""


@pytest.fixture(scope="module")
def world() -> World:
    """Return a world in which v1 is accepted and nobody has promoted it; v5 was imported."""
    made = trained_world(auto_deploy=False)
    made.settle()
    made.write_model(5, base=None, learned=())
    assert made.state(1).status == Status.ACCEPTED
    return made


@pytest.fixture
def bucket(truth: ObjectStore, world: World) -> ObjectStore:
    """Return what is really in the bucket: what the deployer reads, as it was before the promotion."""
    for folder in (keys.model(0), keys.model(1), keys.model(5), "registry/", "verdicts/", keys.state(1)):
        for info in world.store.list(folder):
            truth.put(info.key, world.store.get(info.key).data)
    return truth


@pytest.fixture
def ports(bucket: ObjectStore, client: Any, world: World) -> Ports:
    return replace(world.ports, store=quick_store(client))


@pytest.fixture
def other(bucket: ObjectStore, other_client: Any, world: World) -> Ports:
    """A second deployer."""
    return replace(world.ports, store=quick_store(other_client))


def promote() -> Message:
    return builders.typed('{"promote": 1}')


def is_whole(bucket: ObjectStore) -> None:
    """Check that the promotion is done once, is on record, and has reached its cycle."""
    production = CODEC.parse(bucket.get(keys.PRODUCTION).data)
    assert (production.stable, production.previous, production.seq) == (1, (0,), 2)
    assert parse_document(Move, bucket.get(keys.registry_log(2)).data, what="audit record") == production.last
    assert STATES.parse(bucket.get(keys.state(1)).data).status == Status.DEPLOYED


@pytest.mark.parametrize("fate", [CUT, REFUSED, "429", "503", "500", "412"])
@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_whichever_write_fails_once_the_promotion_is_done_once(
    proxy: Proxy, bucket: ObjectStore, ports: Ports, fate: str, write: int
) -> None:
    proxy.plan = at_write(write, lambda: fate)
    try:
        handle(promote(), ports)
    except (Conflict, CommitUnknown, Retryable, NotFound):  # a raise is a redelivery
        handle(promote(), ports)
    assert sum(line.startswith("POST") for line in proxy.lines) >= WRITES
    is_whole(bucket)


@pytest.mark.parametrize("fate", [REFUSED, "429", "503"])
def test_a_store_that_is_away_leaves_the_alias_whole_and_the_redelivery_ends_the_promotion(
    proxy: Proxy, bucket: ObjectStore, ports: Ports, client: Any, fate: str
) -> None:
    hasty = replace(ports, store=quick_store(client, deadline_s=0.0))
    proxy.plan = lambda _number, line: fate if line.startswith("POST") else PASS
    with pytest.raises((Retryable, CommitUnknown)):
        handle(promote(), hasty)
    assert CODEC.parse(bucket.get(keys.PRODUCTION).data).stable in {0, 1}
    proxy.plan = lambda _number, _line: PASS
    handle(promote(), ports)
    is_whole(bucket)


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_of_two_deployers_at_once_the_slower_one_finds_the_promotion_done(
    proxy: Proxy, bucket: ObjectStore, ports: Ports, other: Ports, write: int
) -> None:
    said: list[str] = []
    proxy.plan = meanwhile(write, lambda: said.append(handle(promote(), other)))
    said.append(handle(promote(), ports))
    assert len(said) == 2
    is_whole(bucket)


def test_an_alias_that_another_deployer_moved_meanwhile_is_decided_on_again(
    proxy: Proxy, bucket: ObjectStore, ports: Ports, other: Ports
) -> None:
    override = builders.typed('{"promote": 5, "override": true, "reason": "imported"}', message_id="override")
    proxy.plan = meanwhile(1, lambda: handle(override, other))
    assert handle(promote(), ports) == "alias unchanged: validated against v0, but v5 is stable now"
    production = CODEC.parse(bucket.get(keys.PRODUCTION).data)
    assert (production.stable, production.previous, production.seq) == (5, (0,), 2)
    state = STATES.parse(bucket.get(keys.state(1)).data)
    assert (state.status, state.reason) == (Status.INCONCLUSIVE, "validated against v0, but v5 is stable now")
