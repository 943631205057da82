"""What a minute at some rate of errors takes of the store, the functions and the log, counted on the local stack at 40 ms a call."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

import psutil

from infra.local.gcs_server.routes import GcsApi
from infra.local.gcs_server.wire import Request, Response
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from shared import ledger
from shared.clock import SystemClock
from shared.documents import Frozen
from shared.events import Event, Tick
from shared.head import read_head
from shared.messages import outgoing
from shared.policy import Policy
from shared.testing import builders
from tests.benchmarks.crossing import until
from tests.deployed import envelope, post
from tests.e2e.local_stack import CALLS
from tests.world import trained_world

CALL_S = 0.04
"""A call of Cloud Storage."""
SWEEP_CALL_S = 0.004
"""While sweeps are counted, which make thousands of calls one after another: they are multiplied up."""
SENDERS = 256
ALONE = 10
"""Errors of a system in which each is alone."""
HYPOTHESIS = "i would like to change the delivery address of my last order please"


class Ops(Frozen):
    """Calls of Cloud Storage: class A (write, list), class B (read), and what is not billed (deleting, what is not found)."""

    a: float = 0
    b: float = 0
    free: float = 0

    @property
    def calls(self) -> float:
        """All of them."""
        return self.a + self.b + self.free

    def __add__(self, other: "Ops") -> "Ops":
        """Return the sum."""
        return Ops(a=self.a + other.a, b=self.b + other.b, free=self.free + other.free)

    def times(self, factor: float) -> "Ops":
        """Return so many times as much."""
        return Ops(a=self.a * factor, b=self.b * factor, free=self.free * factor)


class Minute(Frozen):
    """What was counted at one rate.

    Attributes:
        errors: collected in the time that was measured, which is a minute but where each error is alone.
        segments: written for them.
        collecting: calls of the collector.
        busy_s: how long at least one request was under way, each stretch rounded up to 100 ms as it is billed.
        most_in_flight: requests at a time.
        p50_s, p99_s: of a request.
        cpu_s: processor time of the function, the local stack's server included.
        log_bytes: that it logged.
        stored_bytes: of the segments.
        sweeping: calls of the next sweep, which folds the segments.
        sweep_s: how long that sweep takes.
        idle_sweeping, idle_sweep_s: of a sweep that has nothing to fold.
    """

    errors: int
    segments: int
    collecting: Ops
    busy_s: float
    most_in_flight: int
    p50_s: float
    p99_s: float
    cpu_s: float
    log_bytes: int
    stored_bytes: int
    sweeping: Ops
    sweep_s: float
    idle_sweeping: Ops
    idle_sweep_s: float


class Counted:
    """Counts and holds back the calls of the local Cloud Storage server."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.most = 0
        self._found: Counter[str] = Counter()
        self._under_way = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._handle: Callable[[GcsApi, Request], Response] = GcsApi.handle

    def take(self) -> Ops:
        """Return the calls since this was asked last."""
        with self._lock:
            found, self._found, self.most = self._found, Counter(), 0
        return Ops(a=found["a"], b=found["b"], free=found["free"])

    def quiet_s(self) -> float:
        """Return how long there has been no call."""
        with self._lock:
            return 0.0 if self._under_way else time.monotonic() - self._last

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand in the way of every call."""

        def handle(api: GcsApi, request: Request) -> Response:
            if "o" not in request.path:
                return self._handle(api, request)  # each new client looks at the bucket once, in a thread of its own
            with self._lock:
                self._under_way += 1
                self.most = max(self.most, self._under_way)
            time.sleep(self.delay_s)
            response = self._handle(api, request)
            with self._lock:
                self._under_way -= 1
                self._last = time.monotonic()
                self._found[billed(request.method, request.path, response.status)] += 1
            return response

        with patch.object(GcsApi, "handle", handle):
            yield


def billed(method: str, path: Sequence[str], status: int) -> str:
    """Return the class of a call. What is refused, not found or not as expected is not billed.

    Source: cloud.google.com/storage/pricing, "Operations that apply".
    """
    if status >= 300 or method == "DELETE":
        return "free"
    if method == "GET":
        return "a" if path[-1] == "o" else "b"
    return "a"


def error(number: str) -> Event:
    """Return an error as a service of telephone calls reports it."""
    return builders.error(
        0,
        at=SystemClock().now(),
        event_id=uuid.uuid4().hex,
        utterance_id=f"call-20261126-{number}",
        audio_uri=f"{CALLS}/2026/11/26/call-20261126-{number}.wav",
        hypothesis=HYPOTHESIS,
        reference=None,
        speaker_id=f"caller-{number}",
        session_id=f"call-{number}",
        confidence=0.71,
        duration_s=4.2,
        language="en",
    )


def busy_s(spans: Sequence[tuple[float, float]]) -> float:
    """Return how long at least one of some spans lasted, each stretch rounded up to 100 ms."""
    total, begun, ended = 0.0, None, 0.0
    for start, end in sorted(spans):
        if begun is None or start > ended:
            total += _rounded(ended - begun) if begun is not None else 0.0
            begun = start
        ended = max(ended, end)
    return total + (_rounded(ended - begun) if begun is not None else 0.0)


def _rounded(seconds: float) -> float:
    return -(-seconds // 0.1) * 0.1


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """Return how many of some spans overlap at most."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class Drive:
    """A stack that collects, after one finished cycle."""

    def __init__(self, stack: Stack, counted: Counted) -> None:
        self._stack = stack
        self._counted = counted
        self._log = stack.functions_log

    def minute(self, per_minute: int) -> Minute:
        """Let errors come for a minute, then sweep."""
        return self._measured(lambda: self._poisson(per_minute), rounds=1)

    def alone(self) -> Minute:
        """Let errors come one by one, and sweep after every second: a sweep folds no single segment."""
        return self._measured(lambda: [self._send(f"alone-{number}") for number in range(2)], rounds=ALONE // 2)

    def _measured(self, collect: Callable[[], list[tuple[float, float]]], *, rounds: int) -> Minute:
        for number in range(2):
            self._send(f"warm-{number}")
        self._sweep(alone=False)  # folds them, and does what is done once: resolved errors, garbage; the stack's own first tick sweeps too
        until(lambda: self._counted.quiet_s() > 0.5, "the store to be left alone")
        idle, idle_s = self._sweep()
        cpu, logged = self._cpu_s(), self._log.stat().st_size
        spans, collecting, sweeping, sweep_s = [], Ops(), Ops(), 0.0
        segments, stored_bytes = 0, 0
        for _ in range(rounds):
            self._counted.take()
            self._counted.delay_s = CALL_S
            spans += collect()
            collecting += self._counted.take()
            found = [info.size_bytes for info in ledger.look(self._stack.store, read_head(self._stack.store)).live]
            segments, stored_bytes = segments + len(found), stored_bytes + sum(found)
            before = self._cpu_s(), self._log.stat().st_size
            swept, took_s = self._sweep()
            cpu, logged = cpu + self._cpu_s() - before[0], logged + self._log.stat().st_size - before[1]
            sweeping, sweep_s = sweeping + swept, sweep_s + took_s
        took = sorted(end - start for start, end in spans)
        return Minute(
            errors=len(spans),
            segments=segments,
            collecting=collecting,
            busy_s=busy_s(spans),
            most_in_flight=most_at_once(spans),
            p50_s=took[len(took) // 2],
            p99_s=took[len(took) * 99 // 100],
            cpu_s=self._cpu_s() - cpu,
            log_bytes=self._log.stat().st_size - logged,
            stored_bytes=stored_bytes,
            sweeping=sweeping.times(1 / rounds),
            sweep_s=sweep_s / rounds,
            idle_sweeping=idle,
            idle_sweep_s=idle_s,
        )

    def _poisson(self, per_minute: int) -> list[tuple[float, float]]:
        draws, at = Random(per_minute), 0.0
        arrivals = []
        while (at := at + draws.expovariate(per_minute / 60)) < 60:
            arrivals.append(at)
        begun = time.perf_counter()
        with ThreadPoolExecutor(SENDERS) as pool:
            sent = []
            for number, due in enumerate(arrivals):
                time.sleep(max(0.0, begun + due - time.perf_counter()))
                sent.append(pool.submit(self._send, str(number)))
            return [each.result() for each in sent]

    def _send(self, number: str) -> tuple[float, float]:
        body = envelope(outgoing(error(number)))
        begun = time.perf_counter()
        status = post(self._port("collector"), body)
        ended = time.perf_counter()
        assert status == 204, status
        return begun, ended

    def _sweep(self, *, alone: bool = True) -> tuple[Ops, float]:
        """Sweep; return the calls, and how long it would take at `CALL_S` each."""
        self._counted.take()
        self._counted.delay_s = SWEEP_CALL_S
        begun = time.perf_counter()
        status = post(self._port("sweeper"), envelope(outgoing(Tick(event_id=uuid.uuid4().hex, occurred_at=SystemClock().now()))))
        took = time.perf_counter() - begun
        assert status == 204, status
        assert self._counted.most == 1 or not alone, "the sweeper makes calls side by side now: measure its time at CALL_S"
        ops = self._counted.take()
        return ops, took + ops.calls * (CALL_S - SWEEP_CALL_S)

    def _port(self, function: str) -> int:
        return int(self._stack.functions.urls[function].rsplit(":", 1)[1])

    def _cpu_s(self) -> float:
        process = self._stack.functions._process
        assert process is not None
        times = psutil.Process(process.pid).cpu_times()
        return times.user + times.system


@contextmanager
def driven(folder: Path, *, count_interval_s: float) -> Iterator[Drive]:
    """Start a stack whose store holds one finished cycle, and in which no threshold is ever reached."""
    counted = Counted()
    policy = Policy(min_error_cases=10**9, min_corrected_cases=10**9)
    environ = {"RETUNE_COUNT_INTERVAL_S": str(count_interval_s)}
    config = StackConfig(directory=folder, policy=policy, tick_s=1e6, environ=environ)
    world = trained_world()
    world.settle()
    with counted.installed(), Stack(config) as stack, variables_set(stack.env):
        for info in world.store.list(""):
            stack.store.put(info.key, world.store.get(info.key).data, metadata=info.metadata)
        yield Drive(stack, counted)
