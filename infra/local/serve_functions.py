"""Every function under functions-framework, in one process, each on a listening socket that the parent has bound.

    python -m infra.local.serve_functions collector=3 launcher=4 ...      (name=file descriptor)

It serves until its standard input ends: when the stack closes it, or is killed. Then requests under way are finished and
the trainers that the functions started are ended.
"""

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from flask import Flask
from functions_framework import _function_registry, create_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

import functions
from functions.launcher.local import LocalLauncher
from shared.config import Settings

HOST = "127.0.0.1"


class Served(Protocol):
    """A server of one function."""

    def serve_forever(self, poll_interval: float) -> None:
        """Serve until `shutdown`."""
        ...

    def shutdown(self) -> None:
        """End, from another thread, once the requests under way are answered."""
        ...


class _Handler(WSGIRequestHandler):
    # A connection a request: one that is kept alive would hold its thread, and the end would wait for it.
    protocol_version = "HTTP/1.0"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Leave the log to the functions."""


class _Server(ThreadedWSGIServer):
    daemon_threads = False  # so that closing waits for requests under way


class _AsyncServer:
    """The same for a function that is asynchronous; closing lets requests under way finish."""

    def __init__(self, app: Any, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))

    def serve_forever(self, _poll_interval: float) -> None:
        self._server.run(sockets=[self._socket])

    def shutdown(self) -> None:
        self._server.should_exit = True


def main(arguments: Sequence[str]) -> int:
    """Serve until standard input ends."""
    servers = [serve(*argument.split("=")) for argument in arguments]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), name="function-server") for server in servers]
    for thread in threads:
        thread.start()
    sys.stdin.buffer.read()
    for server in servers:
        server.shutdown()
    for thread in threads:
        thread.join()
    end_trainers(Settings.from_env())
    return 0


def end_trainers(settings: Settings) -> list[str]:
    """End every trainer that was started with this work folder; return their names."""
    launcher = LocalLauncher(settings.trainers_dir)
    names = launcher.list_names()
    for name in names:
        launcher.delete(name)
    return names


def serve(name: str, descriptor: str) -> Served:
    """Return the server of one function on a socket that listens already."""
    make_app: Callable[..., Any] = create_app  # functions-framework has no annotations
    # It remembers by the name of the entry point alone that one is asynchronous, and all of them are called the same.
    _function_registry.ASGI_FUNCTIONS.discard("entry")
    app = make_app("entry", str(Path(functions.__file__).parent / name / "main.py"))
    return _Server(HOST, 0, app, _Handler, fd=int(descriptor)) if isinstance(app, Flask) else _AsyncServer(app, int(descriptor))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
