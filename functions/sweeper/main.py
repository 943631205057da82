"""Entry point of the sweeper (topic `ticks`)."""

from functools import cache

import functions_framework
from flask import Request

from functions.launcher.build import launch_deps
from functions.launcher.opening import LaunchDeps
from functions.push import serve
from functions.sweeper.handler import handler


@cache
def build() -> LaunchDeps:
    """Build the ports at the first request."""
    return launch_deps("sweeper")


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    deps = build()
    return serve(request, handler(deps), function="sweeper", ports=deps.ports)
