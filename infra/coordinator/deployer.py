"""Which model serves: the deployer's own moves of the alias, asked for as a person does."""

from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

from functions.acts import people
from functions.sweeper.resolve import resolve_errors
from functions.sweeper.watch import watch_versions
from functions.views.production import ModelView
from functions.views.status import look
from infra import status
from infra.coordinator.functions import Functions
from infra.coordinator.quiet import logging_to
from infra.models.importing import Convert, Imported, convert_with_trainer, import_model
from infra.models.stored import list_models, show_model
from infra.models.tables import render_models
from infra.options import me
from infra.people import Answer, ask
from shared import keys
from shared.alias import find_production
from shared.documents import sha256_hex
from shared.manifest import ModelManifest
from shared.registry import Production
from shared.training import ObjectRef
from trainer.attempt.spec import fetch_model


class ModelDeployer:
    """Deploys versions and takes them back. A version is the number of the cycle that made it.

    Args:
        functions: that decide and do.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    @property
    def production(self) -> Production:
        """What serves."""
        return find_production(self._functions.ports.store) or Production()

    def print_status(self, console: Console | None = None) -> None:
        """Print every model, what serves, and the last move of the alias with its reason."""
        (console or Console()).print(Group(*status.serving_lines(self.production), Text(""), render_models(self.list_models())))

    def list_models(self) -> list[ModelView]:
        """Return every model, the oldest first."""
        return list_models(self._functions.ports)

    def import_model(self, source: Path | str, *, reason: str | None = None, convert: Convert = convert_with_trainer) -> Imported:
        """Bring a wav2vec2 CTC model (a folder, or a name on the Hugging Face hub) into the registry; the first one becomes stable.

        Raises:
            Refused: it is no such model, or a cycle is running.
        """
        functions = self._functions
        with functions.alone():
            person = functions.person(me(), reason)
            return import_model(functions.ports, str(source), person, convert=convert, tell=lambda _text: None)

    def deploy(self, version: int, *, reason: str | None = None, override: bool = False) -> Answer:
        """Make a version stable: on its evidence, or with `override` on your word and reason.

        Where the policy wants a canary, a version that rests on evidence first serves its share of the sessions.
        """
        functions = self._functions
        person = functions.person(me(), reason)
        percent = functions.ports.settings.policy.canary.percent
        on_canary = self.production.canary is not None and self.production.canary.version == version
        if percent is not None and not override and not on_canary:
            return ask(functions.ports, person, people.canary, version, percent)
        return ask(functions.ports, person, people.promote, version, override=override)

    def rollback(self, version: int | None = None, *, to: int | None = None, reason: str | None = None) -> Answer:
        """Withdraw a live version (None = the canary, else the stable one); the last good one serves, or the one in `to`.

        Where nothing can be rolled back the answer says so: `outcome` is `refused`.
        """
        return ask(self._functions.ports, self._functions.person(me(), reason), people.rollback, version, to)

    def watch(self) -> list[str]:
        """Look once at what the sweeper looks at every minute, and do what it does.

        The errors of a canary, or of a version in its guard window, are compared with those of the version beside or before it. One
        that is surely worse is rolled back; a canary that has proved itself waits for `deploy`. What a version has fixed, once its
        guard window has ended, is kept for later cycles.

        Returns:
            What was done, else what is waited for, in words.
        """
        ports = self._functions.ports
        with logging_to(self._functions.data.log_path):
            done = [*watch_versions(ports), *resolve_errors(ports)]
        waits = (f"{watch.subject.kind} {watch.verdict.action}: {watch.verdict.reason}" for watch in look(ports).watches)
        return done or list(waits)

    def download(self, version: int, folder: Path | str) -> ModelManifest:
        """Copy a model's files into a folder, each verified.

        Raises:
            Refused: there is no such model.
            RunFailed: a file is not what the manifest says.
        """
        store = self._functions.ports.store
        show_model(self._functions.ports, version)
        key = keys.manifest(version)
        return fetch_model(store, ObjectRef(key=key, sha256=sha256_hex(store.get(key).data)), Path(folder))
