"""Both adapters between HTTP and handlers behind one call, so that whatever holds of one is asked of the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from flask import Request
from starlette.requests import Request as AsyncRequest
from starlette.types import Message as Part
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from functions.push import BLOCK_BYTES, Handler, serve
from functions.push_async import serve_async
from functions.runtime import Ports
from shared.bus import Message
from shared.clock import Clock
from shared.config import Settings
from shared.objectstore import ObjectStore
from shared.testing.memory_bus import MemoryBus

PROJECT = "test"
Send = Callable[[str, bytes, Mapping[str, str], Handler, ObjectStore, Clock], tuple[str, int]]


def ports_of(store: ObjectStore, clock: Clock) -> Ports:
    """Return what an adapter needs: a function that publishes nothing."""
    return Ports(store, MemoryBus(clock), clock, Settings(bucket="gs://bucket", project=PROJECT, audio_prefixes=("gs://calls",)))


def send_in_thread(
    method: str, body: bytes, headers: Mapping[str, str], handle: Handler, store: ObjectStore, clock: Clock
) -> tuple[str, int]:
    """Answer a request as a function does whose requests have a thread each."""
    builder = EnvironBuilder(method=method, data=body, headers=Headers(headers))
    return serve(Request(builder.get_environ()), handle, function="collector", ports=ports_of(store, clock))


def send_on_loop(
    method: str, body: bytes, headers: Mapping[str, str], handle: Handler, store: ObjectStore, clock: Clock
) -> tuple[str, int]:
    """Answer a request as an asynchronous function does."""
    blocks = (body[start : start + BLOCK_BYTES] for start in range(0, len(body), BLOCK_BYTES))
    return answer_on_loop(method, blocks, {"content-length": str(len(body)), **headers}, handle, store, clock)


def answer_on_loop(
    method: str, blocks: Iterator[bytes], headers: Mapping[str, str], handle: Handler, store: ObjectStore, clock: Clock
) -> tuple[str, int]:
    """The same for a body that comes block by block."""

    async def parts() -> AsyncIterator[Part]:
        for block in blocks:
            yield {"type": "http.request", "body": block, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    async def handle_async(message: Message) -> str:
        return handle(message)

    names = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": names}

    async def serve_one() -> tuple[str, int]:
        request = AsyncRequest(scope, parts().__anext__)
        return await serve_async(request, handle_async, function="collector", ports=ports_of(store, clock))

    return asyncio.run(serve_one())


ADAPTERS: dict[str, Send] = {"in a thread": send_in_thread, "on the event loop": send_on_loop}
