"""Entry point of the collector (topic `stt-errors`): asynchronous, since its requests wait for a write that many of them share."""

from functools import cache

import functions_framework.aio
from starlette.requests import Request

from functions.collector.handler import Collector
from functions.push_async import serve_async
from functions.runtime import Ports, ports_from_env


@cache
def build() -> tuple[Ports, Collector]:
    """Build the handler at the first request."""
    from shared.audio_source import AudioSource

    ports = ports_from_env("collector")
    return ports, Collector(ports, AudioSource(allowed_prefixes=ports.settings.audio_prefixes).check)


@functions_framework.aio.http
async def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    ports, handler = build()
    return await serve_async(request, handler.collect, function="collector", ports=ports)
