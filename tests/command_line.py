"""The command line on a world in memory: every command opens a session of that world, as it would of an installation."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import pytest
from typer.testing import CliRunner, Result

import infra.acts_cli
import infra.cli
import infra.corpora.cli
import infra.dataset.cli
import infra.dlq.cli
import infra.explain.cli
import infra.fsck.cli
import infra.models.cli
import infra.train_cli
from infra.session import Session
from shared.bus import Outgoing
from tests.world import World

Retune = Callable[..., Result]
MODULES = (
    infra.acts_cli,
    infra.cli,
    infra.corpora.cli,
    infra.dataset.cli,
    infra.dlq.cli,
    infra.explain.cli,
    infra.fsck.cli,
    infra.models.cli,
    infra.train_cli,
)


@dataclass(frozen=True)
class Settling:
    """Publishes, and has everything handled before it returns."""

    world: World

    def publish(self, message: Outgoing) -> str:
        message_id = self.world.bus.publish(message)
        self.world.settle()
        return message_id


def session_of(world: World, *, answered: bool = False) -> Session:
    """Return a session; answered = what it publishes is handled at once, so that a command that waits has its answer."""
    return Session(replace(world.ports, publisher=Settling(world)) if answered else world.ports, world.bus)


def command_line(world: World, monkeypatch: pytest.MonkeyPatch, *first: str, answered: bool = False) -> Retune:
    """Return what runs `retune` with the arguments `first` and its own."""
    for module in MODULES:
        monkeypatch.setattr(module, "open_session", lambda: nullcontext(session_of(world, answered=answered)))
    return lambda *arguments: CliRunner().invoke(infra.cli.app, [*first, *map(str, arguments)])


def last_line(answered: Result) -> str:
    """Return the answer itself: the functions log to the same standard output here."""
    return answered.stdout.splitlines()[-1]
