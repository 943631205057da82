"""(a') The same ceiling for an asynchronous function: it reads the request, which the framework does not do here, and answers 204."""

import functions_framework.aio
from starlette.requests import Request


@functions_framework.aio.http
async def entry(request: Request) -> tuple[str, int]:
    """Answer."""
    await request.body()
    return "", 204
