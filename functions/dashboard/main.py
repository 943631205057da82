"""Entry point of the console: pages for people."""

from functools import cache

import functions_framework
from flask import Request, Response

from functions.dashboard.build import console
from functions.dashboard.handler import Console


@cache
def build() -> Console:
    """Build the ports at the first request that needs them."""
    return console()


@functions_framework.http
def entry(request: Request) -> Response:
    """Answer one request."""
    return build().answer(request)
