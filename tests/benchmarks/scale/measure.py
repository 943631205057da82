"""One function at work on a prepared bucket, in a process of its own: `python -m tests.benchmarks.scale.measure FOLDER SIZE NAME`.

Prints one line of JSON: seconds (median), operations of one run, peak memory of the whole process and what it took before the function ran.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from functions.crossing import announce_crossing, stable_version
from functions.launcher.counting import exact_trigger
from functions.launcher.opening import LaunchDeps
from functions.launcher.seal import seal
from functions.runtime import Ports
from functions.states import recent_states
from functions.sweeper.handler import sweep
from functions.views.status import look
from infra.dataset.build import build_next
from infra.status import render
from shared import keys, ledger
from shared.audio_source import AudioSource
from shared.bus import Outgoing
from shared.compaction import compact
from shared.config import Settings
from shared.dir_store import DirStore
from shared.objectstore import Generation, ObjectInfo, crc32c_base64
from shared.policy import Evidence, decide_trigger
from shared.testing.builders import CALLS
from shared.testing.clock import FakeClock
from tests.benchmarks.scale.counted import CountingStore
from tests.benchmarks.scale.state import NOW, POLICY, Size
from tests.world import FakeTrainers

QUICK_REPEATS = 15
ONCE = frozenset({"compact", "first", "exact", "seal", "build"})


class Everywhere:
    """Audio of calls without end: what lies at an address is the address."""

    uri = CALLS

    def stat(self, key: str) -> ObjectInfo:
        """Describe a recording."""
        data = f"{CALLS}/{key}".encode()
        return ObjectInfo(key, Generation(1), len(data), crc32c_base64(data), NOW)


class Nobody:
    """A bus that nobody listens to."""

    def publish(self, message: Outgoing) -> str:
        """Take a message."""
        return message.topic


class Bench:
    """The functions on a bucket; each does one piece of work, the same each time."""

    def __init__(self, folder: Path, size: Size) -> None:
        clock = FakeClock(NOW)
        self.size = size
        self.below = DirStore(folder, clock)
        self.store = CountingStore(self.below)
        settings = Settings(bucket=self.below.uri, project="bench", audio_prefixes=(CALLS,), policy=POLICY)
        self.ports = Ports(self.store, Nobody(), clock, settings)
        self.audio = AudioSource(lambda _: Everywhere(), (CALLS,))  # type: ignore[arg-type,return-value]  # pins alone are made
        self.deps = LaunchDeps(self.ports, self.audio, FakeTrainers())
        self.works: dict[str, Callable[[], object]] = {
            "count": lambda: ledger.count(self.store, size.open_cycle),
            "decide": self.decide,
            "tick": lambda: sweep(self.deps),
            "status": self.status,
            "compact": lambda: compact(self.store, size.open_cycle),
            "first": self.exact,
            "exact": self.exact,
            "seal": lambda: seal(self.ports, self.audio, size.open_cycle),
            "build": lambda: build_next(self.ports, self.audio),
        }

    def decide(self) -> None:
        """Do what collector and sweeper do every minute: count, tell, and decide on the totals."""
        assert announce_crossing(self.ports) is not None
        evidence = Evidence(totals=ledger.count(self.store, self.size.open_cycle), stable=stable_version(self.ports))
        assert decide_trigger(evidence, POLICY, [], NOW).should_trigger

    def exact(self) -> None:
        """Do what the launcher does before it opens a cycle."""
        states = recent_states(self.ports, self.size.open_cycle)
        assert exact_trigger(self.ports, self.size.open_cycle, states, forced=False).should_trigger

    def status(self) -> None:
        """Do what `retune status` does."""
        with Path("/dev/null").open("w") as nowhere:
            Console(file=nowhere).print(render(look(self.ports)))

    def undo(self) -> None:
        """Take away what a seal has written."""
        self.below.delete(keys.dataset(self.size.open_cycle))
        self.below.delete(keys.told(self.size.open_cycle))


def peak_mib() -> float:
    """Return the most memory that this process ever held: of this program alone, unlike what `getrusage` tells after a fork."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main(folder: Path, size: Size, name: str) -> None:
    """Measure one function and print what was found."""
    bench = Bench(folder, size)
    work = bench.works[name]
    before = peak_mib()
    seconds = []
    operations: dict[str, int] = {}
    for _ in range(1 if name in ONCE else QUICK_REPEATS):
        bench.store.forget()
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
        operations = dict(bench.store.operations)
    bench.undo()
    found = {"seconds": statistics.median(seconds), "operations": operations, "read_bytes": bench.store.read_bytes}
    print(json.dumps({**found, "peak_mib": peak_mib(), "before_mib": before}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Size(**json.loads(sys.argv[2])), sys.argv[3])
