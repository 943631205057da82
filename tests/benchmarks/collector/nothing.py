"""(a) The ceiling: a function that does nothing and answers 204. The framework itself reads the request."""

import functions_framework
from flask import Request


@functions_framework.http
def entry(_: Request) -> tuple[str, int]:
    """Answer."""
    return "", 204
