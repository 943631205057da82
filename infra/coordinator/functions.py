"""The product's own functions in this process, over one store: wired by the table that deployments are wired by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from functions.wiring import READS, subscription_name
from infra.coordinator.data_manager import DataManager
from infra.coordinator.production import Production
from infra.coordinator.quiet import logging_to
from infra.coordinator.trainers import WaitingTrainers
from infra.local.state_folder import only_one_in
from infra.people import Person
from shared.bus import Message, Outgoing, Publisher
from shared.errors import InvalidMessage
from shared.events import MODEL_EVENTS, TOPICS, Tick
from shared.ids import new_token
from shared.log import fresh
from shared.messages import outgoing
from shared.policy import Policy
from shared.testing.memory_bus import MemoryBus

MOST_DELIVERIES = 10_000
ANSWER_S = 5.0
"""An answer shows as soon as the functions have settled."""


class Functions:
    """Launcher, validator, deployer and sweeper of this process; the collector is `DataManager`'s.

    Args:
        data: where everything lies.
        policy: the operator's numbers.
        project_id: whose topic hears of moves of the alias; None = as the environment says.

    Raises:
        Refused: a project is named where there is none, or functions are deployed over the same bucket.
    """

    def __init__(self, data: DataManager, policy: Policy, project_id: str | None = None) -> None:
        self.data = data
        self.trainers = WaitingTrainers()
        self._production = Production(data, project_id)
        self._bus = MemoryBus(data.clock)
        self._refused: list[InvalidMessage] = []
        # nobody looks at a crossing every minute here: when a person looks again it is because something has changed
        policy = policy.model_copy(update={"decline_backoff_s": 0.0})
        settings = data.settings.model_copy(update={"policy": policy, "launcher": "local"})
        inside = Ports(data.store, _Outlet(self._bus, self._production), data.clock, settings)
        self.deps = LaunchDeps(inside, data.audio, self.trainers)
        self.ports = Ports(data.store, _Prompt(inside.publisher, self.settle), data.clock, settings)
        handlers: dict[str, Callable[[Message], str]] = {
            "launcher": launcher(self.deps),
            "validator": validator(inside),
            "deployer": deployer(inside),
            "sweeper": sweeper(self.deps),
        }
        for topic in TOPICS:
            self._bus.create_topic(topic)
        for function, handle in handlers.items():
            for topic in READS[function]:
                name = subscription_name(function, topic)
                self._bus.create_subscription(topic, name)
                self._bus.subscribe(name, partial(self._deliver, function, handle))

    def settle(self) -> None:
        """Deliver until nothing is due.

        Raises:
            InvalidMessage: a function refused a message for good.
            RetuneError: a function failed; its message is delivered again by a later call, after its back-off.
        """
        with logging_to(self.data.log_path):
            self._bus.drain(MOST_DELIVERIES)
        failures, self._bus.failures = self._bus.failures, []
        refused, self._refused = self._refused, []
        for error in (*refused, *(failure.error for failure in failures)):
            raise error

    def sweep(self) -> None:
        """Let the sweeper look once."""
        now = self.data.clock.now()
        self.ports.publisher.publish(outgoing(Tick(event_id=f"tick-{new_token()}", occurred_at=now)))

    def person(self, by: str, reason: str | None) -> Person:
        """Return who asks."""
        return Person(by=by, reason=reason, wait_s=ANSWER_S)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else work in the folder meanwhile.

        Raises:
            Unreachable: another process does.
        """
        self.data.directory.mkdir(parents=True, exist_ok=True)
        with only_one_in(self.data.directory, who="another process works there", instead="wait for it, or choose another directory"):
            yield

    def _deliver(self, function: str, handle: Callable[[Message], str], message: Message) -> None:
        fresh(function=function)
        try:
            handle(message)
        except InvalidMessage as error:
            self._refused.append(error)


class _Outlet:
    """What functions publish to: the others in here, and for moves of the alias also whoever serves."""

    def __init__(self, bus: MemoryBus, production: Production) -> None:
        self._bus, self._production = bus, production

    def publish(self, message: Outgoing) -> str:
        """Publish; see `Publisher.publish`."""
        if message.topic == MODEL_EVENTS:
            self._production.tell(message)
        return self._bus.publish(message)


class _Prompt:
    """What people publish to: when it returns, everything that follows from the message has been done."""

    def __init__(self, publisher: Publisher, settle: Callable[[], None]) -> None:
        self._publisher, self._settle = publisher, settle

    def publish(self, message: Outgoing) -> str:
        """Publish and settle; see `Publisher.publish`."""
        message_id = self._publisher.publish(message)
        self._settle()
        return message_id
