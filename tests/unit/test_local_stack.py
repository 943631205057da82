"""What a stack does with the subscriptions that the one before it has left."""

from functions.wiring import OPTIONAL, READS
from infra.local.stack import unplug, wire
from shared.bus import Outgoing
from shared.testing.clock import FakeClock
from shared.testing.memory_bus import MemoryBus


def urls(port: int) -> dict[str, str]:
    return {name: f"http://127.0.0.1:{port}/{name}" for name in (*READS, *OPTIONAL)}


def endpoints(bus: MemoryBus) -> dict[str, str]:
    return {config.name.rpartition("/")[2]: config.push_endpoint for config in bus.engine.subscriptions()}


def test_nothing_is_pushed_to_the_functions_of_the_stack_before_and_what_waits_goes_to_the_new_ones() -> None:
    bus = MemoryBus(FakeClock())
    wire(bus, urls(1))
    bus.create_subscription("stt-errors", "of-a-person", push_endpoint="http://127.0.0.1:9/")
    before = bus.engine.subscriptions()
    bus.publish(Outgoing("stt-errors", b"waits"))
    unplug(bus.engine, READS)
    assert {endpoint for name, endpoint in endpoints(bus).items() if name != "of-a-person"} == {""}
    wire(bus, urls(2))
    assert endpoints(bus)["collector-stt-errors"] == "http://127.0.0.1:2/collector"
    assert endpoints(bus)["of-a-person"] == "http://127.0.0.1:9/"
    assert bus.backlog("collector-stt-errors") == 1
    unplug(bus.engine, READS)
    wire(bus, urls(1))
    assert bus.engine.subscriptions() == before


def test_a_kept_subscription_has_the_settings_of_today() -> None:
    bus = MemoryBus(FakeClock())
    wire(bus, urls(1))
    name = "projects/local/subscriptions/collector-stt-errors"
    today = bus.engine.subscription(name)
    bus.create_subscription("stt-errors", "collector-stt-errors", min_backoff_s=100.0, ack_deadline_s=10, renew=True)
    assert bus.engine.subscription(name) != today
    wire(bus, urls(1))
    assert bus.engine.subscription(name) == today


def test_nothing_waits_for_a_function_that_no_longer_runs() -> None:
    bus = MemoryBus(FakeClock())
    wire(bus, urls(1), {**READS, **OPTIONAL})
    assert "notifier-model-events" in endpoints(bus)
    unplug(bus.engine, READS)
    wire(bus, urls(2))
    assert [name for name in endpoints(bus) if name.startswith("notifier-") and not name.endswith("-dead")] == []
