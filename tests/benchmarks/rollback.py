"""How long a rollback takes: from the command to the first utterance that a service serves with the old model, on the local stack.

Real servers, the real deployer in its own process, a real `ModelRouter` that verifies and loads; only the network in the model is left
out, so that no weights are computed with. Each round deploys a new version, waits until it serves, and takes it back.
Run as `python -m tests.benchmarks.rollback`; `--mib` sets the size of a model (wav2vec2-base has 360 MiB). The target is under 5 s.
"""

import argparse
import json
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from retune_client import ModelRouter

from functions.runtime import Ports
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from infra.models.importing import import_model
from infra.people import Person
from infra.session import Session, open_session
from shared.bus import Outgoing
from shared.events import MODEL_COMMANDS, MODEL_EVENTS

ROUNDS = 7
TARGET_S = 5.0
DEADLINE_S = 60.0
LOOK_S = 0.001
ME = Person(by="benchmark", reason="measures a rollback", wait_s=DEADLINE_S)


@dataclass(frozen=True)
class Recogniser:
    """Hears in every utterance which model it is."""

    text: str

    def transcribe(self) -> str:
        """Return the transcript of an utterance."""
        return self.text


def load(folder: Path, version: int) -> Recogniser:
    """Read a model's file as a recogniser does that maps its weights."""
    assert (folder / "model.safetensors").stat().st_size > 0
    return Recogniser(f"v{version}")


@dataclass(frozen=True)
class Round:
    """One rollback, in seconds from the command: `alias_s` until the router had read it, `served_s` until the old model served."""

    alias_s: float
    served_s: float


def bring_in(ports: Ports, size_bytes: int) -> int:
    """Import a model of random bytes, make it stable and return its version."""

    def convert(_: str, folder: Path) -> dict[str, Any]:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(uuid.uuid4().bytes * (size_bytes // 16))
        return {}

    return import_model(ports, "random bytes", ME, make_stable=True, convert=convert, tell=lambda _: None).version


def wait_until_served(router: ModelRouter[Recogniser], version: int) -> None:
    """Serve utterances until one is served by the version.

    Raises:
        TimeoutError: none was.
    """
    deadline = time.monotonic() + DEADLINE_S
    while router.choose("a call").model.transcribe() != f"v{version}":
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected v{version} to serve within {DEADLINE_S:g} s, found {router.status()}")
        time.sleep(LOOK_S)


def measure(session: Session, router: ModelRouter[Recogniser], size_bytes: int) -> Round:
    """Deploy a version, take it back and return how long that took."""
    wait_until_served(router, bring_in(session.ports, size_bytes))
    seq = router.status().seq
    started = time.monotonic()
    session.ports.publisher.publish(Outgoing(MODEL_COMMANDS, b'{"rollback": true, "by": "benchmark"}'))
    deadline = started + DEADLINE_S
    while router.status().seq == seq and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    read = time.monotonic()
    wait_until_served(router, 0)
    return Round(alias_s=read - started, served_s=time.monotonic() - started)


def run(folder: Path, size_bytes: int, rounds: int) -> list[Round]:
    """Start a stack and a service on it, and measure."""
    config = StackConfig(directory=folder / "stack")
    with Stack(config) as stack, variables_set(stack.env), open_session() as session:
        name = "benchmark-model-events"
        stack.bus.create_subscription(MODEL_EVENTS, name)
        assert bring_in(session.ports, size_bytes) == 0
        subscription = f"projects/{config.project}/subscriptions/{name}"
        with ModelRouter(config.bucket, folder / "cache", load, subscription=subscription) as router:
            if not router.wait_for(0, DEADLINE_S):
                raise TimeoutError(f"expected v0 to serve, found {router.status()}")
            return [measure(session, router, size_bytes) for _ in range(rounds)]


def main() -> None:
    """Print and store the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1, help="size of each model")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="retune-rollback-") as folder:
        rounds = run(Path(folder), options.mib << 20, options.rounds)
    medians = {name: median(asdict(each)[name] for each in rounds) for name in ("alias_s", "served_s")}
    worst = max(each.served_s for each in rounds)
    print(f"rollback_command_to_alias_read: {medians['alias_s']:.3f} s")
    print(f"rollback_command_to_old_model_serving: {medians['served_s']:.3f} s")
    print(f"rollback_command_to_old_model_serving_worst: {worst:.3f} s")
    print(f"rollback_rounds_within_{TARGET_S:g}_s: {sum(each.served_s < TARGET_S for each in rounds)} of {len(rounds)}")
    out = Path("bench-results")
    out.mkdir(exist_ok=True)
    document = {
        "unit": "s",
        "mib": options.mib,
        "target_s": TARGET_S,
        "median": medians,
        "worst": worst,
        "each": [asdict(each) for each in rounds],
    }
    (out / "rollback.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
