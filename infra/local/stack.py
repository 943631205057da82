"""The local stack: Cloud Storage, Pub/Sub and the functions on one machine, for one folder of state.

.retune/buckets/<bucket>   objects; they outlive the stack
.retune/pubsub.sqlite3     topics, subscriptions, and messages that nobody has acknowledged; likewise
.retune/work               trainers started by the launcher
.retune/logs               what functions said
.retune/traces.jsonl       spans of functions and trainers, where traces are wanted
.retune/env.json           how to talk to the running stack; gone when none runs
.retune/lock               held while one runs
"""

import os
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

from functions.dashboard.settings import AUDIENCE, LOCAL_USER, OPERATORS
from functions.notifier.webhooks import read_webhooks
from functions.wiring import CONSOLE, MAX_DELIVERY_ATTEMPTS, OPTIONAL, READS, dead_letter_topic, subscription_name
from infra.errors import Unreachable
from infra.local.emulator import PubSubEmulator
from infra.local.functions_process import FunctionsProcess
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer, SqliteJournal
from infra.local.serve_functions import end_trainers
from infra.local.state_folder import only_one_in, ports_are_free, variables_set, written_env
from infra.options import me
from shared.clock import SystemClock
from shared.config import Settings
from shared.dir_store import DirStore
from shared.errors import Retryable
from shared.events import TOPICS, Tick
from shared.log import log
from shared.messages import outgoing
from shared.monitoring import OVERRIDE
from shared.policy import Policy
from shared.pubsub import PubSubBus
from shared.testing.memory_bus import MemoryBus
from shared.testing.pubsub_engine import PubSubEngine

PUSH_PARALLEL = 16
_NO_IAP = {AUDIENCE: "", OPERATORS: ""}
"""Whatever this process was told about a console elsewhere."""
ACK_DEADLINE_S = 600
"""Pub/Sub's longest: sealing a dataset copies audio."""

MIN_BACKOFF_S = 1.0
MAX_BACKOFF_S = 10.0
"""Nobody waits ten minutes on a laptop."""

AnyBus = MemoryBus | PubSubBus


@dataclass(frozen=True)
class StackConfig:
    """What to start.

    Attributes:
        directory: state that outlives the stack; one stack at a time.
        policy: the operator's numbers.
        pubsub: our own server, or Google's emulator.
        tick_s: time between two ticks of the sweeper.
        gcs_port, pubsub_port, rest_port, console_port: 0 = any free one. The emulator speaks gRPC and REST on `pubsub_port`.
        project, bucket, calls: names of the project, of Retune's bucket, and of the bucket that holds the calls' audio.
        environ: more variables for functions and trainers; its PYTHONPATH goes first.
        traces: append the spans of functions and trainers to a file.
    """

    directory: Path = Path(".retune")
    policy: Policy = field(default_factory=Policy)
    pubsub: Literal["embedded", "emulator"] = "embedded"
    tick_s: float = 60.0
    gcs_port: int = 0
    pubsub_port: int = 0
    rest_port: int = 0
    console_port: int = 0
    project: str = "retune-local"
    bucket: str = "retune-local"
    calls: str = "retune-calls"
    environ: Mapping[str, str] = field(default_factory=dict)
    traces: bool = False


class Stack:
    """A running stack, between `start` and `close`.

    Attributes:
        env: the variables with which any process talks to it.
        store: Retune's bucket, read and written directly.
        calls: the bucket of the calls' audio, likewise.
        bus: its topics and subscriptions.
        functions: the process that serves the functions.
    """

    env: Mapping[str, str]
    bus: AnyBus
    functions: FunctionsProcess

    def __init__(self, config: StackConfig | None = None) -> None:
        self.config = config or StackConfig()
        self.directory = self.config.directory.absolute()
        self.store = DirStore(self._buckets / self.config.bucket)
        self.calls = DirStore(self._buckets / self.config.calls)
        self.settings = Settings(
            bucket=f"gs://{self.config.bucket}",
            project=self.config.project,
            audio_prefixes=(f"gs://{self.config.calls}",),
            policy=self.config.policy,
            work_dir=self.directory / "work",
            count_interval_s=1.0,
            traces_file=self.directory / "traces.jsonl" if self.config.traces else None,
        )
        self._running = ExitStack()

    @property
    def functions_log(self) -> Path:
        """Where the functions' log lines are."""
        return self.directory / "logs" / "functions.log"

    @property
    def console(self) -> str:
        """Address of the console."""
        return f"{self.functions.urls[CONSOLE]}/"

    @property
    def _buckets(self) -> Path:
        return self.directory / "buckets"

    def start(self) -> Self:
        """Start everything and return when every function answers.

        Raises:
            Unreachable: another stack runs in the folder, a port is taken, the emulator is not installed, or a function
                did not start.
        """
        for folder in (self.store_folder(self.config.bucket), self.store_folder(self.config.calls), self.functions_log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            undo.enter_context(only_one_in(self.directory))
            end_trainers(self.settings)  # of a stack that was killed
            self._reads = {**READS, **OPTIONAL} if read_webhooks({**os.environ, **self.config.environ}) else READS
            gcs = undo.enter_context(ports_are_free(lambda: GcsServer(self._buckets, port=self.config.gcs_port)))
            self.env = {**self._google_env(gcs, undo), **self.settings.to_env()}
            environ = {**self.env, **_NO_IAP, LOCAL_USER: me(), **self.config.environ}
            self.functions = FunctionsProcess(
                (*self._reads, CONSOLE), environ, self.functions_log, self.directory, console_port=self.config.console_port
            )
            undo.enter_context(ports_are_free(lambda: self.functions))
            with variables_set(self.env):  # Google's clients look for the emulator when they are made
                wire(self.bus, self.functions.urls, self._reads)
            undo.enter_context(Ticker(self.bus, self.config.tick_s))
            undo.enter_context(written_env(self.directory, self.env))
            self._running = undo.pop_all()
        return self

    def close(self) -> None:
        """End everything: the functions, the trainers they started, the servers."""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def store_folder(self, bucket: str) -> Path:
        """Return the folder that holds a bucket."""
        return self._buckets / bucket

    def _google_env(self, gcs: GcsServer, undo: ExitStack) -> dict[str, str]:
        """Start Pub/Sub and return what Google's clients and gcloud need to know."""
        grpc_target, rest_url = self._start_emulator(undo) if self.config.pubsub == "emulator" else self._start_embedded(undo)
        return {
            "STORAGE_EMULATOR_HOST": gcs.url,
            "PUBSUB_EMULATOR_HOST": grpc_target,
            "CLOUDSDK_CORE_PROJECT": self.config.project,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": rest_url,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            **({OVERRIDE: rest_url} if self.config.pubsub == "embedded" else {}),
        }

    def _start_embedded(self, undo: ExitStack) -> tuple[str, str]:
        journal = undo.enter_context(closing(SqliteJournal(self.directory / "pubsub.sqlite3")))
        self.bus = bus = MemoryBus(SystemClock(), self.config.project, journal)
        unplug(bus.engine, self._reads)
        grpc_port, rest_port = self.config.pubsub_port, self.config.rest_port
        server = undo.enter_context(
            ports_are_free(lambda: PubSubServer(bus, grpc_port=grpc_port, rest_port=rest_port, push_parallel=PUSH_PARALLEL))
        )
        return server.grpc_target, server.rest_url

    def _start_emulator(self, undo: ExitStack) -> tuple[str, str]:
        try:
            emulator = undo.enter_context(PubSubEmulator(self.config.pubsub_port))
        except (FileNotFoundError, Retryable) as error:
            raise Unreachable(f"{error}\nOr leave out `--pubsub emulator`: the embedded Pub/Sub needs nothing.") from error
        self.bus = PubSubBus(self.config.project)
        undo.callback(self.bus.close)
        return emulator.target, emulator.rest_url


def unplug(engine: PubSubEngine, reads: Mapping[str, tuple[str, ...]]) -> None:
    """Let go of the functions of the stack before.

    Where they listened anybody may listen now: nothing is pushed until `wire` says where they are. Nothing waits for one that is gone.
    """
    functions = {subscription_name(function, topic): function for function, topics in {**READS, **OPTIONAL}.items() for topic in topics}
    for config in engine.subscriptions():
        function = functions.get(config.name.rpartition("/")[2])
        if function in reads:
            engine.update_subscription(replace(config, push_endpoint=""))
        elif function is not None:
            engine.delete_subscription(config.name)


def wire(bus: AnyBus, urls: Mapping[str, str], reads: Mapping[str, tuple[str, ...]] = READS) -> None:
    """Create every topic, each function's push subscriptions, and a pull subscription on each dead-letter topic."""
    create: Callable[..., None] = bus.create_subscription
    if isinstance(bus, MemoryBus):
        create = partial(create, renew=True)  # one that was kept goes on as it would be made now
    for topic in TOPICS:
        bus.create_topic(topic)
    for function, topics in reads.items():
        for topic in topics:
            name = subscription_name(function, topic)
            dead = dead_letter_topic(name)
            bus.create_topic(dead)
            create(dead, dead, ack_deadline_s=60, min_backoff_s=0.0, max_backoff_s=0.0)
            create(
                topic,
                name,
                dead_letter_topic=dead,
                max_delivery_attempts=MAX_DELIVERY_ATTEMPTS,
                push_endpoint=urls[function],
                min_backoff_s=MIN_BACKOFF_S,
                max_backoff_s=MAX_BACKOFF_S,
                ack_deadline_s=ACK_DEADLINE_S,
            )


class Ticker:
    """Publishes a tick at once and then every `interval_s`, as Cloud Scheduler does."""

    def __init__(self, bus: AnyBus, interval_s: float) -> None:
        self._bus = bus
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._bus.publish(outgoing(Tick(event_id=uuid.uuid4().hex, occurred_at=SystemClock().now())))
            except Retryable as error:
                log(f"tick: {error}", severity="WARNING")
            self._ended.wait(self._interval_s)
