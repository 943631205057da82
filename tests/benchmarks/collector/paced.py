"""Reports that come at a rate of their own, whether or not the function keeps up: `python -m tests.benchmarks.collector.paced JSON`."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random

from tests.benchmarks.collector.load import HOST, Load, requests_of


@dataclass(frozen=True)
class Pace:
    """What to send.

    Attributes:
        port: of the function.
        gap_s: mean time between two reports.
        poisson: whether these times are exponential, or all the same.
        events: how many.
        first_id: message ids count from here.
    """

    port: int
    gap_s: float
    poisson: bool
    events: int
    first_id: int


@dataclass(frozen=True)
class PaceResult:
    """What came back: latencies in the order of sending, and how many were refused."""

    latencies_s: list[float]
    refused: int


async def post(port: int, request: bytes) -> tuple[float, bool]:
    """Send one request on a connection of its own; return how long the answer took and whether it was 204."""
    reader, writer = await asyncio.open_connection(HOST, port)
    began = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    took_s = time.perf_counter() - began
    writer.close()
    await writer.wait_closed()
    return took_s, b" 204 " in head[:16]


async def run(pace: Pace, requests: Iterator[bytes]) -> PaceResult:
    """Send everything at its time and wait for every answer."""
    chance, due_s = Random(pace.first_id), time.perf_counter()
    tasks = []
    for _ in range(pace.events):
        due_s += chance.expovariate(1 / pace.gap_s) if pace.poisson else pace.gap_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(post(pace.port, next(requests))))
    answers = await asyncio.gather(*tasks)
    return PaceResult([took_s for took_s, _ in answers], sum(not fine for _, fine in answers))


def main() -> int:
    """Run the pace that the first argument describes."""
    pace = Pace(**json.loads(sys.argv[1]))
    requests = requests_of(Load(pace.port, 1, 0, 0, 0, pace.first_id))
    print(json.dumps(asdict(asyncio.run(run(pace, requests)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
