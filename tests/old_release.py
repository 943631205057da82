"""An earlier release's functions beside the present ones, on one bucket: as a rollout has them, or a rollback of one."""

import base64
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from functions.launcher.trainers import TrainerRun
from shared.bus import Message, Outgoing
from shared.clock import Clock
from shared.config import Settings
from shared.dir_store import DirStore
from shared.errors import InvalidMessage, Retryable
from shared.messages import parse_event
from shared.policy import Policy
from shared.testing import builders
from shared.testing.clock import START, FakeClock
from tests.world import BUCKET, World

ARCHIVES = Path(__file__).parent / "data" / "releases"
PROCESS = Path(__file__).parent / "old_release_process.py"


def unpack(release: str, folder: Path) -> Path:
    """Unpack a release's functions; return the folder that holds them."""
    with tarfile.open(ARCHIVES / f"{release}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


class Bucket(DirStore):
    """A folder under the address of a bucket."""

    def __init__(self, folder: Path, clock: Clock, uri: str) -> None:
        super().__init__(folder, clock)
        self._uri = uri

    @property
    def uri(self) -> str:
        """Address of the bucket that it stands for."""
        return self._uri


class OldFailure(Retryable):
    """A function of the old release raised something: the message is delivered again."""


class OldRelease:
    """The process of an earlier release's functions; one message at a time."""

    def __init__(self, code: Path, settings: Settings, stores: dict[str, Path]) -> None:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PROCESS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=code,
        )
        self._send(
            {
                "settings": settings.model_dump_json(exclude={"otlp_endpoint", "traces_file", "trainer_machines"}),
                "stores": {uri: str(folder) for uri, folder in stores.items()},
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate(timeout=30)

    def begin(self, function: str, message: Message, *, clock: Clock, trainers: Sequence[str]) -> None:
        """Give a message to a function; `answer` waits for what comes of it."""
        self._send(
            {
                "function": function,
                "now": clock.now().isoformat(),
                "data": base64.b64encode(message.data).decode(),
                "attributes": dict(message.attributes),
                "message_id": message.message_id,
                "publish_time": message.publish_time.isoformat(),
                "trainers": list(trainers),
            }
        )

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the old release's process has ended"
        return dict(json.loads(line))

    def _send(self, document: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()


class _WorldsClock:
    """The clock of a world that is still being made."""

    clock: Clock = FakeClock(START)

    def now(self) -> Any:
        return self.clock.now()


Whose = Callable[[str], str]
"""Says who handles the next message of a function: `old`, `new`, or `both` at once."""


class MixedWorld(World):
    """A world on folders, some of whose messages are handled by the functions of an earlier release."""

    def __init__(self, policy: Policy, folder: Path, code: Path, whose: Whose) -> None:
        clock = _WorldsClock()
        folders = {BUCKET: folder / "bucket", builders.CALLS: folder / "calls"}
        self.bucket = Bucket(folders[BUCKET], clock, BUCKET)
        super().__init__(policy, store=self.bucket)  # type: ignore[arg-type]  # what it does with it, every store can
        clock.clock = self.clock
        self.calls = Bucket(folders[builders.CALLS], clock, builders.CALLS)  # type: ignore[assignment]
        self.whose = whose
        self.handled = {"old": 0, "new": 0}
        self.refusals: list[str] = []
        self.old = OldRelease(code, self.ports.settings, folders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.old.__exit__(kind, error, trace)

    def _deliver(self, function: str, message: Message) -> None:
        whose = self.whose(function)
        if whose == "new":
            self.handled["new"] += 1
            super()._deliver(function, message)
            return
        self.handled["old"] += 1
        self.old.begin(function, message, clock=self.clock, trainers=self.trainers.list_names())
        try:
            if whose == "both":
                self.handled["new"] += 1
                super()._deliver(function, message)
        finally:
            answer = self.old.answer()
            self._do(answer)
        self._note(function, message, answer)

    def _do(self, answer: dict[str, Any]) -> None:
        for step in answer["trainers"]:
            if "start" in step:
                self.trainers.start(TrainerRun(*step["start"]))
            else:
                self.trainers.delete(step["delete"])
        for each in answer["published"]:
            self.bus.publish(Outgoing(each["topic"], base64.b64decode(each["data"]), each["attributes"]))

    def _note(self, function: str, message: Message, answer: dict[str, Any]) -> None:
        if answer.get("error") == InvalidMessage.__name__:
            self.quarantined.append(f"old {function}: {answer['text']}")
        elif "error" in answer:
            self.refusals.append(f"old {function}: {answer['error']}: {answer['text']}")
            raise OldFailure(self.refusals[-1])
        else:
            self.outcomes.append(f"old {function}: {answer['outcome']}")
            if function == "collector":
                self.acknowledged.add(parse_event(message).event_id)
