"""One attempt at work, and the world outside as the shell needs it."""

from dataclasses import dataclass, field

from shared.bus import Publisher
from shared.clock import Clock
from shared.machine import Machine
from shared.objectstore import ObjectStore
from shared.tracing import OFF, Traces
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress


@dataclass(frozen=True)
class Attempt:
    """One attempt at work.

    Attributes:
        store: of states, heartbeats and results.
        publisher: takes the last word.
        cycle, number: of the cycle, and of the attempt within it.
        progress: where the run is.
        heartbeat_s: seconds between two signs of life.
        preemption: hears that the machine is taken away.
        machine: that the run is on, for its price; None = nobody said.
        traces: where spans go.
    """

    store: ObjectStore
    publisher: Publisher
    clock: Clock
    cycle: int
    number: int
    progress: Progress
    heartbeat_s: float = 20.0
    preemption: Preemption = field(default_factory=Preemption)
    machine: Machine | None = None
    traces: Traces = OFF
