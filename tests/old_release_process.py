"""The functions of an earlier release, as a process: one message in as a JSON line, what came of it out as another.

It is run with that release's `shared` and `functions` on its path and imports nothing of this one, beside the standard library.
"""

import base64
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.collector.handler import Collector
from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.launcher.trainers import Started
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from shared.audio_source import AudioSource
from shared.bus import Message
from shared.config import Settings
from shared.dir_store import DirStore


class Now:
    """The clock of whoever asks."""

    at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


class Bucket(DirStore):
    """A folder under the address of a bucket."""

    def __init__(self, folder: Path, clock: Now, uri: str) -> None:
        super().__init__(folder, clock)
        self._uri = uri

    @property
    def uri(self) -> str:
        return self._uri


class Told:
    """What was published and which trainers were started and ended: the asker does it."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.trainers: list[dict[str, Any]] = []
        self.names: list[str] = []

    def publish(self, message: Any) -> str:
        data = base64.b64encode(message.data).decode()
        self.published.append({"topic": message.topic, "data": data, "attributes": dict(message.attributes)})
        return "1"

    def start(self, run: Any) -> Started:
        self.trainers.append({"start": [run.cycle, run.attempt, run.spec_uri]})
        self.names.append(run.name)
        return Started("here")

    def delete(self, name: str) -> None:
        self.trainers.append({"delete": name})
        self.names = [other for other in self.names if other != name]

    def list_names(self) -> list[str]:
        return sorted(self.names)


def main() -> None:
    """Answer every line until there is no more; the first one says where everything is."""
    setting = json.loads(sys.stdin.readline())
    clock, told = Now(), Told()
    stores = {uri: Bucket(Path(folder), clock, uri) for uri, folder in setting["stores"].items()}
    settings = Settings.model_validate_json(setting["settings"])
    ports = Ports(stores[settings.bucket], told, clock, settings)
    audio = AudioSource(lambda uri: stores[uri], (*settings.audio_prefixes, f"{settings.bucket}/corpora/"))
    deps = LaunchDeps(ports, audio, told)
    handlers: dict[str, Callable[[Message], str]] = {
        "collector": Collector(ports, audio.check),
        "launcher": launcher(deps),
        "validator": validator(ports),
        "deployer": deployer(ports),
        "sweeper": sweeper(deps),
    }
    out, sys.stdout = sys.stdout, sys.stderr  # the functions log to standard output
    for line in sys.stdin:
        asked = json.loads(line)
        clock.at = datetime.fromisoformat(asked["now"])
        told.published, told.trainers, told.names = [], [], asked["trainers"]
        message = Message(
            base64.b64decode(asked["data"]),
            asked["attributes"],
            asked["message_id"],
            datetime.fromisoformat(asked["publish_time"]),
        )
        answer: dict[str, Any] = {}
        try:
            answer["outcome"] = handlers[asked["function"]](message)
        except Exception as error:  # noqa: BLE001 - the asker does with it what the adapter does
            answer.update(error=type(error).__name__, text=str(error))
        print(json.dumps({**answer, "published": told.published, "trainers": told.trainers}), file=out, flush=True)


if __name__ == "__main__":
    main()
