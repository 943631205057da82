"""The datasets that a seal looks at to consume once: those sealed within the horizon before its ledger opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from functions.runtime import Ports
from functions.states import find_state
from shared import keys
from shared.dataset import CONSUME_HORIZON, Row
from shared.head import FIRST_CYCLE
from shared.line_objects import LinesObject, find_lines, lines_of


def find_dataset(ports: Ports, cycle: int) -> LinesObject[Row] | None:
    """Return a cycle's dataset if it is sealed."""
    return find_lines(ports.store, keys.dataset(cycle), lines_of(Row, what=keys.dataset(cycle)))


@dataclass(frozen=True)
class Window:
    """What lies before a cycle and is not older than the horizon.

    Attributes:
        cycle: whose ledger is sealed or counted.
        datasets: by number, oldest first; None = its ledger waits for its seal.
    """

    cycle: int
    datasets: Mapping[int, LinesObject[Row] | None]

    @property
    def settled(self) -> int:
        """The last cycle behind the window; 0 = there is none."""
        return min(self.datasets, default=self.cycle) - 1

    @property
    def sealed(self) -> list[LinesObject[Row]]:
        """The datasets that are there, oldest first."""
        return [stored for stored in self.datasets.values() if stored is not None]


def read_window(ports: Ports, cycle: int, known: Mapping[int, LinesObject[Row] | None] = MappingProxyType({})) -> Window:
    """Read the datasets before a cycle, the newest first, up to the first that is older than the horizon, which ends the window.

    Args:
        ports: of the launcher.
        cycle: whose ledger is sealed or counted.
        known: datasets that were read in this call already.
    """
    if cycle == FIRST_CYCLE:
        return Window(cycle, {})
    before = find_state(ports, cycle - 1)
    opened = before.history[0].at if before is not None else ports.clock.now()
    found: dict[int, LinesObject[Row] | None] = {}
    for number in range(cycle - 1, FIRST_CYCLE - 1, -1):
        stored = known[number] if number in known else find_dataset(ports, number)
        if stored is not None and stored.info.updated < opened - CONSUME_HORIZON:
            break
        found[number] = stored
    return Window(cycle, dict(reversed(found.items())))
