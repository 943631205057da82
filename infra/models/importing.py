"""A person's own model, brought into the registry.

convert   a Wav2Vec2ForCTC is checked and becomes safetensors, in a process of its own: the only place with torch
number    the first is v0; a later one takes the number of the cycle that collects, opened and ended in one write
upload    create only, the manifest last
promote   through the deployer, like any other move of the alias
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from functions.acts.people import promote
from functions.runtime import Ports
from functions.states import find_state
from infra.errors import Refused
from infra.people import Answer, Person, ask
from infra.processes import environment
from infra.publish.mlflow_client import SCHEME, fetch
from shared import keys
from shared.alias import find_production
from shared.cas import TRIES, create, find
from shared.code_identity import code_identity
from shared.cycle import CODEC, Status, open_cycle
from shared.documents import Frozen, document_bytes
from shared.errors import Conflict
from shared.head import begin_head, move_head, read_head
from shared.ids import version_name
from shared.manifest import FileDigest, ModelManifest, digest_folder
from trainer.attempt.upload import upload_files

BY = "retune models import"
Convert = Callable[[str, Path], dict[str, Any]]
"""Checks a model (a folder or a name on the hub), writes it to the folder, and returns details for the manifest."""


class Imported(Frozen):
    """An imported model.

    Attributes:
        promotion: what came of making it stable; None = not asked for.
    """

    version: int
    files: tuple[FileDigest, ...]
    details: dict[str, Any]
    promotion: Answer | None


def convert_with_trainer(source: str, folder: Path) -> dict[str, Any]:
    """Check and convert a model in a process that may load torch.

    Raises:
        Refused: it is no model that can be trained and served, or the trainer's packages are not installed.
    """
    command = [sys.executable, "-m", "trainer.importing", source, str(folder)]
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        if "ModuleNotFoundError" in said[-1]:
            raise Refused(f"models are checked with the trainer's packages: run `pip install 'retune[trainer]'` ({said[-1]})")
        raise Refused(f"not imported: {said[-1]}")
    details: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return details


def import_model(
    ports: Ports,
    source: str,
    person: Person,
    *,
    make_stable: bool | None = None,
    convert: Convert = convert_with_trainer,
    tell: Callable[[str], None] = print,
) -> Imported:
    """Bring a model into the registry.

    Args:
        ports: the outside world.
        source: a folder, a name on the Hugging Face hub, or `models:/name@alias` in an MLflow registry.
        person: who asks.
        make_stable: promote it; None = only if no model is stable yet.
        convert: checks and converts.
        tell: is told what goes on.

    Raises:
        Refused: it is no such model, or a cycle is running.
        NoAnswer: the deployer did not move the alias in time.
    """
    production = find_production(ports.store)
    first = find(ports.store, keys.manifest(0)) is None
    if not first:
        _refuse_while_running(ports)
    with TemporaryDirectory(prefix="retune-import-") as scratch:
        folder = Path(scratch) / "model"
        tell(f"checking {source}")
        local, kind = _located(source, Path(scratch))
        details = {**convert(local, folder), "source": source, "source_kind": kind}
        version = 0 if first else _claim_number(ports)
        tell(f"uploading {version_name(version)}")
        manifest = _upload(ports, version, folder, details)
    promotion = None
    if make_stable or (make_stable is None and (production is None or production.stable is None)):
        tell(f"making {version_name(version)} stable")
        named = person.model_copy(update={"reason": person.reason or f"imported from {source}"[:1000]})
        promotion = ask(ports, named, promote, version, override=True)
    return Imported(version=version, files=manifest.files, details=details, promotion=promotion)


def _refuse_while_running(ports: Ports) -> None:
    head = read_head(ports.store)
    for cycle in (head, head - 1):
        state = find_state(ports, cycle)
        if state is not None and not state.ended:
            raise Refused(
                f"cycle {cycle} is {state.status}: an imported model takes the next cycle's number; "
                "wait until it has ended, or run `retune cancel`"
            )


def _located(source: str, scratch: Path) -> tuple[str, str]:
    """Return a source that the trainer's packages can read, and what it is: what lies in an MLflow registry is fetched first."""
    if source.startswith(SCHEME):
        return str(fetch(source, scratch / "fetched")), "mlflow"
    return source, "folder" if Path(source).is_dir() else "hub"


def _claim_number(ports: Ports) -> int:
    """Take the number of the cycle that collects: its state opens as ended, and the head moves past it."""
    for _ in range(TRIES):
        _refuse_while_running(ports)
        cycle = begin_head(ports.store)
        cause = f"import-{uuid.uuid4().hex}"
        reason = "imported; nothing was measured"
        state = open_cycle(cycle, Status.INCONCLUSIVE, at=ports.clock.now(), by=BY, cause=cause, reason=reason)
        winner = CODEC.parse(create(ports.store, keys.state(cycle), document_bytes(state)).data)
        if winner.ended:
            move_head(ports.store, cycle)
        if winner.opened_by == cause:
            return cycle
    raise Conflict(f"import: expected a free cycle number within {TRIES} tries, found each taken; try again")


def _upload(ports: Ports, version: int, folder: Path, details: dict[str, Any]) -> ModelManifest:
    files = digest_folder(folder)
    manifest = ModelManifest(
        version=version,
        origin="imported",
        created_at=ports.clock.now(),
        files=upload_files(ports.store, version, folder, files),
        details={**details, "code": code_identity(os.environ)},
    )
    data = document_bytes(manifest)
    if create(ports.store, keys.manifest(version), data).data != data:
        raise Refused(f"{version_name(version)}: another import was faster; see `retune models list`")
    return manifest
