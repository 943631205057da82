"""Which models are in the registry, and what is known of each [io]."""

from functions.runtime import Ports
from functions.views.production import ModelView, get_model, read_moves
from infra.errors import Refused
from shared import keys
from shared.errors import NotFound


def list_models(ports: Ports) -> list[ModelView]:
    """Return every complete model, the oldest first."""
    moves = read_moves(ports)
    return [get_model(ports, version, moves) for version in complete_versions(ports)]


def complete_versions(ports: Ports) -> list[int]:
    """Return the versions that have a manifest, the oldest first."""
    return [keys.cycle_of(info.key) for info in ports.store.list(keys.MODELS) if info.key.endswith("/manifest.json")]


def show_model(ports: Ports, version: int) -> ModelView:
    """Return one model.

    Raises:
        Refused: there is no such model.
    """
    try:
        return get_model(ports, version, read_moves(ports))
    except NotFound as error:
        raise Refused(str(error)) from error
