"""The local stack in processes of its own, each behind proxies of its own, with somebody who starts again what dies."""

import random
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from functions.launcher.trainers import TrainerRun
from functions.wiring import READS
from infra.local.stack import wire
from infra.local.state_folder import variables_set
from shared.dir_store import DirStore
from shared.events import STT_ERRORS
from shared.policy import Policy
from shared.pubsub import PubSubBus
from shared.testing import builders
from tests.chaos.fire.bus_proxy import BusProxy
from tests.chaos.fire.clock import SharedClock
from tests.chaos.fire.instance import (
    PATIENCE_S,
    PUBSUB,
    STORE,
    Place,
    Work,
    function_process,
    pubsub_process,
    store_process,
    trainer_process,
)
from tests.chaos.fire.journal import Journal
from tests.chaos.fire.machines import BurningCompute
from tests.chaos.fire.proxy import HttpProxy
from tests.chaos.fire.pubsub import Acknowledged, Look
from tests.chaos.fire.timeline import Line, Timeline, stamped_lines
from tests.chaos.fire.weather import SUFFERERS, Weather
from tests.chaos.schedule import TRAINER
from tests.chaos.witness import Witness
from tests.faults import Sink
from tests.google_api.compute import PROJECT
from tests.google_api.discovery import discovery
from tests.google_api.server import GoogleApi
from tests.google_api.settings import google_settings

BUCKET = "retune-burning"
PRODUCTION = "production"
READY_S = 120.0
PRELOADED = ["tests.chaos.fire.instance", *(f"functions.{name}.handler" for name in READS), "functions.push_async"]
"""Not the entry points: functions-framework remembers by their one name whether they are asynchronous."""
COUNT_EVERY_S = 30.0

_processes = get_context("forkserver")


class BurningStack:
    """A running stack, between `start` and `close`.

    Args:
        folder: for its state.
        policy: the operator's numbers.
        seed: of what troubles strike, and of how trainers fare.
        defects: planted in every function and in Pub/Sub.
        stays: share of the trainers that are done whose machine does not go by itself.

    Attributes:
        clock: everybody's.
        timeline: what the harness did and saw.
        weather: what goes wrong between the processes.
        acknowledged: what Pub/Sub has acknowledged to publishers.
        compute: the machines.
        store, calls: the buckets, read and written directly.
        witness: has seen what was published before it was true.
        restarts: how often each process was killed.
    """

    def __init__(self, folder: Path, policy: Policy, seed: int, defects: tuple[str, ...] = (), stays: float = 0.0) -> None:
        self._folder = folder
        self._stays = stays
        self._defects = defects
        self._rng = random.Random(seed)
        self._running = ExitStack()
        self._lock = threading.Lock()
        self._lives: dict[str, tuple[BaseProcess, Connection]] = {}
        self._ending = False
        for bucket in (BUCKET, builders.CALLS.removeprefix("gs://")):
            (self._buckets / bucket).mkdir(parents=True)
        (folder / "logs").mkdir()
        self.timeline = Timeline()
        self.clock = SharedClock.begin(folder / "clock")
        self.weather = Weather(random.Random(seed), self.kill)
        self.acknowledged = Acknowledged()
        self._order: int | None = None
        self.compute = BurningCompute(self.clock, self._start_trainer, self.timeline.tell)
        self.store = DirStore(self._buckets / BUCKET, self.clock)
        self.calls = DirStore(self._buckets / builders.CALLS.removeprefix("gs://"), self.clock)
        self.journal = Journal(folder / "journal", self.store)
        self.witness = Witness(Sink(), self.store)
        self.restarts: dict[str, int] = dict.fromkeys((*READS, STORE, PUBSUB), 0)
        self.settings = google_settings().model_copy(
            update={
                "bucket": f"gs://{BUCKET}",
                "audio_prefixes": (builders.CALLS,),
                "policy": policy,
                "count_interval_s": COUNT_EVERY_S,
            }
        )

    def start(self) -> Self:
        """Start everything and return when every function answers."""
        _processes.set_forkserver_preload(PRELOADED)
        with ExitStack() as undo:
            undo.callback(self._kill_all)
            self._store_port, self._pubsub_port = _free_port(), _free_port()
            self._launch(STORE)
            self._launch(PUBSUB)
            self._api = undo.enter_context(GoogleApi(discovery("compute.v1"), self.compute))
            undo.callback(self.compute.close)
            undo.callback(self.weather.heal)
            pubsub = f"127.0.0.1:{self._pubsub_port}"
            self._connect(undo, pubsub)
            with ThreadPoolExecutor(len(READS)) as pool:
                list(pool.map(self._launch, READS))
            with variables_set({"PUBSUB_EMULATOR_HOST": self._buses[PRODUCTION].target}):
                self.production = PubSubBus(PROJECT, timeout_s=PATIENCE_S)
                undo.callback(self.production.close)
                self.production.create_topic(STT_ERRORS)  # Google's client looks for the emulator when it is made
            with variables_set({"PUBSUB_EMULATOR_HOST": pubsub}), closing(PubSubBus(PROJECT)) as bus:
                wire(bus, {name: self._pushes[name].url for name in READS})
            self._running = undo.pop_all()
        return self

    def close(self) -> None:
        """End everything."""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # what may happen

    def kill(self, actor: str) -> None:
        """Kill a process with SIGKILL, and start it again."""
        if actor == TRAINER:
            self.compute.kill_trainers()
            return
        with self._lock:
            if self._ending:
                return
            process, line = self._lives[actor]
            process.kill()
            process.join()
            line.close()
            self.restarts[actor] += 1
            self.timeline.tell(f"! {actor} was killed")
            self._launch(actor)

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self.clock.advance(seconds)
        self.ask("wake")

    def shuffle(self, seed: int | None) -> None:
        """From now on deliver messages in an order that is drawn; None = the oldest first."""
        self._order = seed
        self.ask("shuffle", seed)

    def ask(self, question: str, *arguments: Any) -> Any:
        """Ask one of `Desk`'s questions of Pub/Sub's process, which is there whenever nobody is being killed."""
        with self._lock:
            _, line = self._lives[PUBSUB]
            line.send((question, arguments))
            return line.recv()

    def heal(self) -> None:
        """End everything that goes wrong, and let all clocks agree."""
        self.weather.heal()
        self.shuffle(None)
        self.compute.script.clear()
        for actor in (*READS, TRAINER):
            self.clock.skew(actor, 0.0)

    # what can be seen

    def look(self) -> Look:
        """Return what stands in Pub/Sub."""
        found: Look = self.ask("look")
        return found

    @property
    def at_work(self) -> bool:
        """Some handler or trainer is at work, or will be as soon as it can."""
        return self.look().at_work or self.compute.working

    @property
    def problems_of_compute(self) -> list[str]:
        """Requests that Google's own description of Compute Engine does not allow."""
        return self._api.record.problems

    def function_lines(self, function: str) -> list[Line]:
        """Return what a function has logged."""
        return list(stamped_lines(self._log(function)))

    # inside

    @property
    def _buckets(self) -> Path:
        return self._folder / "buckets"

    def _log(self, actor: str) -> Path:
        return self._folder / "logs" / actor

    def _connect(self, undo: ExitStack, pubsub: str) -> None:
        def opened(link: str, actor: str, upstream: str) -> HttpProxy:
            proxy = HttpProxy(actor, link, self.weather, upstream)
            undo.callback(proxy.close)
            return proxy

        store = f"http://127.0.0.1:{self._store_port}"
        self._stores = {actor: opened("store", actor, store) for actor in SUFFERERS["store"]}
        self._computes = {actor: opened("compute", actor, self._api.root) for actor in SUFFERERS["compute"]}
        self._pushes = {actor: opened("push", actor, store) for actor in SUFFERERS["push"]}
        self._buses = {actor: BusProxy(actor, self.weather, pubsub, self.acknowledged, self.witness) for actor in SUFFERERS["bus"]}
        self._buses[PRODUCTION] = BusProxy(PRODUCTION, self.weather, pubsub, self.acknowledged)
        for bus in self._buses.values():
            undo.callback(bus.close)

    def _place(self, actor: str) -> Place:
        environ: Mapping[str, str] = {}
        if actor not in {STORE, PUBSUB}:
            addresses = {"STORAGE_EMULATOR_HOST": self._stores[actor].url, "PUBSUB_EMULATOR_HOST": self._buses[actor].target}
            environ = {**addresses, **self.settings.to_env()}
        return Place(actor, environ, self._folder / "clock", self._log(actor))

    def _launch(self, actor: str) -> None:
        if actor == STORE:
            place, journal = self._place(actor), self._folder / "journal"
            life = _fork(store_process, place, self._buckets, BUCKET, journal, self._store_port)
        elif actor == PUBSUB:
            file = self._folder / "pubsub.sqlite3"
            life = _fork(pubsub_process, self._place(actor), file, self._pubsub_port, self._order, self._defects)
        else:
            compute = self._computes[actor].url if actor in self._computes else ""
            life = _fork(function_process, self._place(actor), compute, self._defects)
        self._lives[actor] = life
        line = life[1]
        if not line.poll(READY_S):
            raise TimeoutError(f"{actor}: expected it to serve within {READY_S} s; see {self._log(actor)}")
        try:
            port = line.recv()
        except EOFError as error:
            said = "\n".join(each.text for each in list(stamped_lines(self._log(actor)))[-20:])
            raise RuntimeError(f"{actor}: expected it to serve, it has ended:\n{said}") from error
        if actor in READS:
            self._pushes[actor].upstream = ("127.0.0.1", port)

    def _start_trainer(self, run: TrainerRun) -> tuple[BaseProcess, Connection]:
        rng = self._rng
        fails = rng.choice(("store_unavailable", "internal")) if rng.random() < 0.1 else ""
        beats, beat_s, better = rng.randint(1, 4), rng.uniform(0.1, 0.5), rng.random() < 0.8
        work = Work(run, beats, beat_s, better, fails, stays=rng.random() < self._stays)
        return _fork(trainer_process, self._place(TRAINER), work)

    def _kill_all(self) -> None:
        with self._lock:
            self._ending = True
            for process, line in self._lives.values():
                process.kill()
                process.join()
                line.close()


_forking = threading.Lock()


def _fork(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    mine, its = _processes.Pipe()
    process = _processes.Process(target=target, args=(*arguments, its), daemon=True)
    with _forking:
        process.start()
    its.close()
    return process, mine


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
