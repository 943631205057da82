"""Google's Pub/Sub emulator as a context manager: the third party that our own bus and server are compared with."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import Retryable

_JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"
_READY = "Server started, listening on"


def find_emulator() -> Path | None:
    """Return the emulator's jar beside gcloud, or None where it (or java) is not installed."""
    gcloud = shutil.which("gcloud")
    if not gcloud or not shutil.which("java"):
        return None
    for sdk_root in Path(gcloud).resolve().parents:
        jars = sorted(sdk_root.glob(_JAR))
        if jars:
            return jars[-1]
    return None


class PubSubEmulator:
    """The emulator on a port of 127.0.0.1; it speaks gRPC and REST there, and forgets everything when it is closed.

    Attributes:
        target: host and port, for PUBSUB_EMULATOR_HOST.
    """

    def __init__(self, port: int = 0) -> None:
        self.target = f"127.0.0.1:{port or _free_port()}"
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = threading.Event()
        self._output: deque[str] = deque(maxlen=50)

    @property
    def rest_url(self) -> str:
        """URL for CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB."""
        return f"http://{self.target}/"

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the emulator and wait until it serves.

        Raises:
            FileNotFoundError: it is not installed.
            Retryable: it ended or said nothing within the timeout.
        """
        jar = find_emulator()
        if jar is None:
            raise FileNotFoundError("Pub/Sub emulator: expected java and `gcloud components install pubsub-emulator`, found neither or one")
        host, _, port = self.target.partition(":")
        # C1 only and a small heap: it is up in half the time, and its tests are short
        command = ["java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-jar", str(jar), f"--host={host}", f"--port={port}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="pubsub-emulator-output")
        self._reader.start()
        self._started.wait(timeout_s)
        if not any(_READY in line for line in self._output):
            self.close()
            raise Retryable(f"Pub/Sub emulator: expected it to serve within {timeout_s} s, found:\n{''.join(self._output)}")
        return self

    def close(self) -> None:
        """End the emulator and everything it started."""
        if self._process is None:
            return
        for stop in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(self._process.pid, stop)
            try:
                self._process.wait(timeout=5)
                break
            except subprocess.TimeoutExpired:
                continue
        _signal_group(self._process.pid, signal.SIGKILL)  # what it may have left behind holds the pipe open
        if self._reader:
            self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        # to the end: a full pipe would stop the emulator
        assert process.stdout is not None
        for line in process.stdout:
            self._output.append(line)
            if _READY in line:
                self._started.set()
        self._started.set()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # all gone


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
