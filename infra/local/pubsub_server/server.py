"""The server: gRPC, REST and push over one MemoryBus."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from infra.local.pubsub_server.api import PubSubApi
from infra.local.pubsub_server.grpc_api import GrpcApi
from infra.local.pubsub_server.push import PushWorker
from infra.local.pubsub_server.rest_api import RestApi
from shared.testing.memory_bus import MemoryBus

LOOPBACK = "127.0.0.1"


class PubSubServer:
    """Serves a MemoryBus to Google's clients (`PUBSUB_EMULATOR_HOST=grpc_target`) and to gcloud (`rest_url`).

    Two ports, since a grpc.server takes no HTTP/1.1. Topics and messages live as long as the bus does. The bus must stand on a clock
    that runs by itself: nobody tells a waiting call that a settable one was moved.
    """

    def __init__(self, bus: MemoryBus, *, grpc_port: int = 0, rest_port: int = 0, push_parallel: int = 8) -> None:
        """Bind both ports (0: any free one); nothing is served before `start`.

        Raises:
            OSError, RuntimeError: a port is taken.
        """
        self._api = PubSubApi(bus.engine)
        with ExitStack() as undo:
            self._rest = RestApi(self._api, LOOPBACK, rest_port)
            undo.callback(self._rest.close)
            self._grpc = GrpcApi(self._api, LOOPBACK, grpc_port)
            undo.pop_all()
        self._push = PushWorker(bus.engine, parallel=push_parallel)

    @property
    def grpc_target(self) -> str:
        """Host and port for PUBSUB_EMULATOR_HOST."""
        return f"{LOOPBACK}:{self._grpc.port}"

    @property
    def rest_url(self) -> str:
        """URL for CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB, which needs the slash at its end."""
        return f"http://{LOOPBACK}:{self._rest.server_port}/"

    def start(self) -> Self:
        """Serve and deliver until `close`."""
        self._grpc.start()
        self._rest.start()
        self._push.start()
        return self

    def close(self) -> None:
        """Stop delivery and serving; open streams end with UNAVAILABLE, so that clients come back to a next server."""
        self._push.close()
        self._api.close()
        self._grpc.close()
        self._rest.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
