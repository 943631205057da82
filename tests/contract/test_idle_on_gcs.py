"""What an idle system asks of Cloud Storage is what the deployment guide says: the sweeper on Google's client, before a server that counts."""

import re
from dataclasses import replace

import pytest
from google.cloud import storage

from functions.launcher.opening import LaunchDeps
from functions.sweeper.handler import sweep
from infra.bundle import ROOT
from shared.dir_store import DirStore
from shared.policy import CanaryPolicy
from shared.testing import builders
from tests.benchmarks._minute import Counted
from tests.faults import Sink
from tests.gcs_proxy import PASS, UNCLOSED, Proxy, quick_store
from tests.world import World, trained_world

pytestmark = UNCLOSED

GUIDE = ROOT / "docs" / "guides" / "deploy.md"
GUARD_S = 900.0


def new() -> World:
    """Return a world with a first model, of which nobody has reported anything."""
    world = World()
    world.install_model()
    return world


def guarded() -> World:
    """Return a world with one finished cycle, over whose model the guard watches."""
    world = trained_world(canary=CanaryPolicy(guard_s=GUARD_S))
    world.settle()
    world.tick()
    return world


def finished() -> World:
    """Return the same when the guard has ended."""
    world = guarded()
    world.tick(GUARD_S)
    return world


def collecting() -> World:
    """Return the same with reports that are too few for another cycle, and have been folded."""
    world = finished()
    for number in (150, 151):
        world.publish(builders.error(number, at=world.clock.now()))
        world.settle()
    return world


def quantities(row: str) -> list[int]:
    """Return what the guide says that one sweep takes: before a cycle, after it, with reports, while a guard watches."""
    (line,) = (line for line in GUIDE.read_text().splitlines() if line.startswith(f"| Cloud Storage, {row}"))
    return [int(number) for number in re.findall(r"x (\d+)", line)]


@pytest.mark.parametrize("number", range(4))
def test_an_idle_sweep_takes_what_the_guide_says(number: int, proxy: Proxy, truth: DirStore, client: storage.Client) -> None:
    proxy.plan = lambda _number, _line: PASS
    world = (new, finished, collecting, guarded)[number]()
    for _ in range(2):  # what is done once is done
        world.tick()
    for info in world.store.list(""):
        truth.put(info.key, world.store.get(info.key).data, metadata=info.metadata)
    world.clock.advance(60)
    ports = replace(world.ports, store=quick_store(client), publisher=Sink())
    counted = Counted()
    with counted.installed():
        sweep(LaunchDeps(ports, world.audio, world.trainers))
    ops = counted.take()
    assert 3 <= ops.free <= 7
    assert (ops.a, ops.b) == (quantities("class A")[number], quantities("class B")[number])
