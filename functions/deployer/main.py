"""Entry point of the deployer (topics `validation-events` and `model-commands`)."""

from functools import cache

import functions_framework
from flask import Request

from functions.deployer.handler import handler
from functions.push import serve
from functions.runtime import Ports, ports_from_env


@cache
def build() -> Ports:
    """Build the ports at the first request."""
    return ports_from_env("deployer")


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    ports = build()
    return serve(request, handler(ports), function="deployer", ports=ports)
