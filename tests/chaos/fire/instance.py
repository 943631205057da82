"""What runs in the processes of a burning stack: a function, the store's or Pub/Sub's server, a trainer. Each is forked from a server that has imported
everything, so that one that was killed is back at once; each ends when the harness does.

Only here is the product told of another clock, of Compute Engine's address and of shorter patience: nothing of it is in the product.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

from functions.launcher import build
from functions.launcher.trainers import TrainerRun
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer, SqliteJournal
from infra.local.serve_functions import HOST, serve
from infra.local.stack import PUSH_PARALLEL
from shared.clock import SystemClock
from shared.config import Settings
from shared.dir_store import DirStore
from shared.errors import RetuneError
from shared.gcs_store import GcsStore
from shared.pubsub import PubSubBus
from shared.testing.memory_bus import MemoryBus
from shared.testing.pubsub_engine import PubSubEngine
from tests.chaos.acts import EXPECTED
from tests.chaos.fire.clock import RATE, SharedClock
from tests.chaos.fire.defects import DEFECTS
from tests.chaos.fire.journal import Journal
from tests.chaos.fire.pubsub import Desk
from tests.chaos.fire.timeline import Stamped
from tests.chaos.schedule import ACTORS
from tests.google_api.compute import PROJECT, launcher_at
from tests.stand_in import StandIn, right, wrong

PATIENCE_S = 3.0
"""How long a client tries a call again, in real time: with the product's 20 s no outage of a short run would ever reach a handler."""
STORE = "store"
PUBSUB = "pubsub"


@dataclass(frozen=True)
class Place:
    """What every process needs.

    Attributes:
        actor: whose process; for a trainer its machine's name goes into the log.
        environ: its settings and addresses.
        clock, log: files.
    """

    actor: str
    environ: Mapping[str, str]
    clock: Path
    log: Path


@dataclass(frozen=True)
class Work:
    """What a trainer does.

    Attributes:
        beats, beat_s: signs of life before the work is done, and the real time before each.
        better: the candidate is.
        fails: why it gives up instead; empty = it does not.
        stays: its machine is still there when it is done.
    """

    run: TrainerRun
    beats: int
    beat_s: float
    better: bool = True
    fails: str = ""
    stays: bool = False


def function_process(place: Place, compute: str, defects: tuple[str, ...], line: Connection) -> None:
    """Serve one function; its port is the first thing that is said."""
    clock = _settle(place)
    _end_with_harness(line)
    _plant(defects)
    if compute:
        patch.object(build, "open_trainers", lambda settings, _clock: launcher_at(compute, clock, settings, _wait)).start()
    listener = socket.create_server((HOST, 0), backlog=512)
    server = serve(place.actor, str(listener.fileno()))
    line.send(listener.getsockname()[1])
    server.serve_forever(0.05)


def store_process(place: Place, root: Path, bucket: str, journal: Path, port: int, line: Connection) -> None:
    """Serve the buckets; the port is said once everything that landed before is in the journal."""
    clock = _settle(place)
    _end_with_harness(line)
    kept = Journal(journal, DirStore(root / bucket, clock))
    kept.catch_up()
    kept.watch()
    server = GcsServer(root, port=port, clock=clock).start()
    line.send(int(server.url.rpartition(":")[2]))
    threading.Event().wait()


def pubsub_process(place: Place, file: Path, port: int, order: int | None, defects: tuple[str, ...], line: Connection) -> None:
    """Serve Pub/Sub from a file; its port is the first thing that is said, then the harness asks and is answered."""
    clock = _settle(place)
    _plant(defects)
    seconds_to_next_change = PubSubEngine.seconds_to_next_change

    def quick(engine: PubSubEngine) -> float | None:
        """Return how long to wait in real time."""
        seconds = seconds_to_next_change(engine)
        return None if seconds is None else seconds / RATE

    patch.object(PubSubEngine, "seconds_to_next_change", quick).start()
    bus = MemoryBus(clock, PROJECT, SqliteJournal(file))
    server = PubSubServer(bus, grpc_port=port, push_parallel=PUSH_PARALLEL)
    desk = Desk(bus, server)
    desk.shuffle(order)
    server.start()
    line.send(port)
    while True:
        try:
            question, arguments = line.recv()
            line.send(getattr(desk, question)(*arguments))
        except (EOFError, OSError):
            os._exit(0)


def trainer_process(place: Place, work: Work, line: Connection) -> None:
    """Work as a trainer does; SIGTERM is the notice that its machine is taken away."""
    clock = _settle(place)
    _end_with_harness(line)
    settings = Settings.from_env()
    trainer = StandIn(GcsStore(settings.bucket.removeprefix("gs://")), PubSubBus(settings.project), clock, work.run)
    noticed = threading.Event()

    def notice(_number: int, _frame: FrameType | None) -> None:
        noticed.set()

    signal.signal(signal.SIGTERM, notice)
    try:
        line.send(("said", _train(trainer, work, noticed, line)))
    except EXPECTED as error:
        line.send(("said", f"gives up, {error}"))
    except RetuneError as error:
        line.send(("unexpected", repr(error)))
    if work.stays:
        line.send(("done", "is done, and its machine stays"))
        threading.Event().wait()
    os._exit(0)  # without waiting for the clients' threads: what is done is done


def _train(trainer: StandIn, work: Work, noticed: threading.Event, line: Connection) -> str:
    why_not = trainer.begin()
    if why_not:
        return why_not
    line.send(("begun", ""))
    for _ in range(work.beats):
        if noticed.wait(work.beat_s):
            trainer.preempt()
            return "preempted"
        trainer.beat()
    if work.fails:
        trainer.fail(work.fails)
        return work.fails
    return trainer.finish(wrong, right if work.better else wrong)


def _settle(place: Place) -> SharedClock:
    os.environ.update(place.environ)
    out: Any = Stamped(place.log)
    sys.stdout = sys.stderr = out
    clock = SharedClock(place.clock, place.actor if place.actor in ACTORS else "")
    patch.object(SystemClock, "now", lambda _self: clock.now()).start()
    _set_default(GcsStore.__init__, "deadline_s", PATIENCE_S)
    _set_default(PubSubBus.__init__, "timeout_s", PATIENCE_S)
    return clock


def _plant(defects: tuple[str, ...]) -> None:
    for defect in defects:
        DEFECTS[defect].plant()


def _set_default(function: Any, name: str, value: float) -> None:
    function.__kwdefaults__[name] = value


def _end_with_harness(line: Connection) -> None:
    def end() -> None:
        try:
            line.recv()
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=end, name="end-with-harness", daemon=True).start()


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds / RATE)
