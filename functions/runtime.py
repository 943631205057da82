"""What every function needs: its ports and settings, built once per instance at the first request."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared import keys
from shared.bus import Publisher
from shared.clock import Clock, SystemClock
from shared.config import Settings
from shared.errors import InvalidMessage, InvariantBroken
from shared.events import Event
from shared.messages import outgoing
from shared.objectstore import ObjectStore
from shared.tracing import OFF, Place, Traces, open_traces


@dataclass(frozen=True)
class Ports:
    """The outside world of a handler."""

    store: ObjectStore
    publisher: Publisher
    clock: Clock
    settings: Settings
    traces: Traces = OFF

    @property
    def audio_prefixes(self) -> tuple[str, ...]:
        """Under which audio may lie: where the operator allows it, and where copies are kept for good."""
        return (*self.settings.audio_prefixes, f"{self.store.uri}/{keys.CORPORA}")

    def publish_all(self, events: Iterable[Event]) -> None:
        """Publish and wait for each, from the current span; a failure raises, and the redelivery publishes the very same events again.

        Raises:
            InvariantBroken: the bus will never take one of them; the message that is handled is not at fault, and is not quarantined.
        """
        for event in events:
            try:
                self.publisher.publish(outgoing(event, self.traces.carrier()))
            except InvalidMessage as error:
                raise InvariantBroken(f"event {event.event_id}: expected one that the bus can take, found {error}") from error


def ports_from_env(function: str) -> Ports:
    """Build the real ports from the environment.

    Args:
        function: whose they are; its spans say so.

    Raises:
        BadSettings: the environment is not complete.
    """
    from shared.pubsub import PubSubBus
    from shared.stores import open_store

    settings = Settings.from_env()
    store, clock = open_store(settings.bucket), SystemClock()
    place = Place(f"retune-{function}", store.uri, settings.project)
    traces = open_traces(place, clock, endpoint=settings.otlp_endpoint, file=settings.traces_file)
    return Ports(store, PubSubBus(settings.project), clock, settings, traces)
