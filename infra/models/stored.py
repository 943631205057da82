"""Which models are in the registry, and what is known of each [io]."""

from functions.runtime import Ports
from functions.views.production import ModelView, get_model, read_moves
from infra.errors import Refused
from shared import keys
from shared.documents import parse_document
from shared.errors import NotFound
from shared.manifest import ModelManifest
from shared.objectstore import ObjectStore


def list_models(ports: Ports) -> list[ModelView]:
    """Return every complete model, the oldest first."""
    moves = read_moves(ports)
    return [get_model(ports, version, moves) for version in complete_versions(ports.store)]


def complete_versions(store: ObjectStore) -> list[int]:
    """Return the versions that have a manifest, the oldest first."""
    return [keys.cycle_of(info.key) for info in store.list(keys.MODELS) if info.key.endswith("/manifest.json")]


def load_manifest(store: ObjectStore, version: int) -> ModelManifest:
    """Return the manifest of a model that is complete.

    Raises:
        NotFound: it is not.
        CorruptObject: what is there is no manifest.
    """
    stored = store.get(keys.manifest(version))
    return parse_document(ModelManifest, stored.data, what=stored.info.key)


def show_model(ports: Ports, version: int) -> ModelView:
    """Return one model.

    Raises:
        Refused: there is no such model.
    """
    try:
        return get_model(ports, version, read_moves(ports))
    except NotFound as error:
        raise Refused(str(error)) from error
