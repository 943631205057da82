"""Entry point of the collector (topic `stt-errors`)."""

from functools import cache

import functions_framework
from flask import Request

from functions.collector.handler import Collector
from functions.push import serve
from functions.runtime import Ports, ports_from_env


@cache
def build() -> tuple[Ports, Collector]:
    """Build the handler at the first request."""
    from shared.audio_source import AudioSource

    ports = ports_from_env()
    return ports, Collector(ports, AudioSource(allowed_prefixes=ports.settings.audio_prefixes).check)


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    ports, handler = build()
    return serve(request, handler, function="collector", store=ports.store, clock=ports.clock)
