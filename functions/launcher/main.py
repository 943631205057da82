"""Entry point of the launcher (topics `finetune-triggers` and `training-events`)."""

from functools import cache

import functions_framework
from flask import Request

from functions.launcher.build import launch_deps
from functions.launcher.handler import handler
from functions.launcher.opening import LaunchDeps
from functions.push import serve


@cache
def build() -> LaunchDeps:
    """Build the ports at the first request."""
    return launch_deps("launcher")


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Handle one push."""
    deps = build()
    return serve(request, handler(deps), function="launcher", ports=deps.ports)
