"""Entry point of the validator (topic `training-events`)."""

from functools import cache

import functions_framework
from flask import Request

from functions.push import serve
from functions.runtime import Ports, ports_from_env
from functions.validator.handler import handler


@cache
def build() -> Ports:
    """Build the ports at the first request."""
    return ports_from_env("validator")


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    ports = build()
    return serve(request, handler(ports), function="validator", ports=ports)
