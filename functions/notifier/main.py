"""Entry point of the notifier (topics `validation-events` and `model-events`)."""

from functools import cache

import functions_framework
from flask import Request

from functions.notifier.handler import Notifier
from functions.notifier.webhooks import read_webhooks
from functions.push import serve
from functions.runtime import Ports, ports_from_env


@cache
def build() -> tuple[Ports, Notifier]:
    """Build the handler at the first request."""
    ports = ports_from_env("notifier")
    return ports, Notifier(ports.store, read_webhooks())


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    ports, handler = build()
    return serve(request, handler, function="notifier", ports=ports)
