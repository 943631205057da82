"""A local stack for tests: no torch, a trainer that only says that it was started, a model without weights."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from google.cloud import pubsub_v1

from functions.runtime import Ports
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from infra.models.importing import import_model
from infra.people import Person
from infra.session import Session, open_session
from infra.waiting import wait_for
from shared.clock import SystemClock
from shared.events import STT_ERRORS, Event
from shared.messages import outgoing
from shared.policy import Policy
from shared.testing import builders

POLICY = Policy(
    min_error_cases=60,
    min_corrected_cases=10_000,
    auto_approve_finetuning=True,
    cooldown_s=0.0,
    min_trainable_clips=1,
    min_speakers=2,
)
CALLS = "gs://retune-calls"
DEADLINE_S = 40.0
_TRAINER = """
import signal, sys
print("the tests' trainer", *sys.argv[1:], flush=True)
signal.pause()
"""


@contextmanager
def running(
    folder: Path,
    *,
    policy: Policy = POLICY,
    pubsub: Literal["embedded", "emulator"] = "embedded",
    traces: bool = False,
    trainer: str = _TRAINER,
) -> Iterator[Stack]:
    """Run a stack whose `python -m trainer` is the tests' own; this process's Google clients talk to it meanwhile."""
    shadow = folder / "shadow"
    (shadow / "trainer").mkdir(parents=True, exist_ok=True)
    (shadow / "trainer" / "__init__.py").touch()
    (shadow / "trainer" / "__main__.py").write_text(trainer)
    environ = {"PYTHONPATH": str(shadow)}
    config = StackConfig(directory=folder / "stack", policy=policy, pubsub=pubsub, tick_s=1.0, environ=environ, traces=traces)
    with Stack(config) as stack, variables_set(stack.env):
        yield stack


@contextmanager
def session() -> Iterator[Session]:
    with open_session() as opened:
        yield opened


def install_model(stack: Stack) -> None:
    def convert(_: str, folder: Path) -> dict[str, Any]:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"no weights")
        return {}

    ports = Ports(stack.store, stack.bus, SystemClock(), stack.settings)
    import_model(ports, "nowhere", Person(by="test", wait_s=DEADLINE_S), convert=convert, tell=lambda _: None)


def errors(stack: Stack, count: int) -> list[Event]:
    """Record the calls `u0`, `u1`, ... and return their errors."""
    now = SystemClock().now()
    for number in range(count):
        stack.calls.put(f"u{number}.wav", builders.audio_bytes(number))
    return [builders.error(number, at=now, audio_uri=f"{CALLS}/u{number}.wav") for number in range(count)]


def publish(stack: Stack, events: Sequence[Event]) -> None:
    """Publish through Google's own client, as a customer's service does."""
    publish_raw(stack, [(sent.data, dict(sent.attributes)) for sent in map(outgoing, events)])


def publish_raw(stack: Stack, messages: Sequence[tuple[bytes, dict[str, str]]], topic: str = STT_ERRORS) -> None:
    client: Any = pubsub_v1.PublisherClient()
    try:
        path = f"projects/{stack.config.project}/topics/{topic}"
        futures: list[Future[str]] = [client.publish(path, data, **attributes) for data, attributes in messages]
        for future in futures:
            future.result(DEADLINE_S)
    finally:
        client.stop()
        client.transport.close()


def until(fact: Any, what: str) -> Any:
    """Wait until `fact()` is true."""
    return wait_for(lambda: fact() or None, timeout_s=DEADLINE_S, what=what)
