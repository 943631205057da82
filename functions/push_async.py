"""`functions.push` for a function that waits much and computes little: a waiting request costs no thread (ADR 0013)."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from functions.push import DONE, MAX_BODY_BYTES, Body, BodyReader, begin, body_of, received, set_aside, tell_failure
from functions.runtime import Ports
from shared.bus import Message
from shared.errors import InvalidMessage
from shared.log import log

AsyncHandler = Callable[[Message], Awaitable[str]]
"""Handles one message and says in a few words what came of it; never keeps the event loop waiting."""


async def serve_async(request: Request, handle: AsyncHandler, *, function: str, ports: Ports) -> tuple[str, int]:
    """Decode a request, handle its message and answer, as `functions.push.serve` does.

    Raises:
        Exception: whatever the handler raised beyond `InvalidMessage`: the framework answers 500, Pub/Sub redelivers.
    """
    if request.method in {"GET", "HEAD"}:
        return "ok", 200
    begin(request.headers, function=function, project=ports.settings.project)
    body = await read_body_async(request)
    try:
        outcome = await handle(received(request.headers, body, now=ports.clock.now()))
    except InvalidMessage as error:
        await asyncio.to_thread(set_aside, error, body, function=function, ports=ports)
        return DONE
    except Exception as error:
        tell_failure(error)
        raise
    log(outcome)
    return DONE


async def read_body_async(request: Request) -> Body:
    """Read a request to its end, and keep what a push may have at most."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 10 and int(length) <= MAX_BODY_BYTES:
        return body_of(await request.body())
    reader = BodyReader()
    async for block in request.stream():
        reader.take(block)
    return reader.body()
