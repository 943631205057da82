"""Which code made something: Retune's own version, and the build that its environment names."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

_VARIABLES = {"commit": "RETUNE_COMMIT", "image_digest": "RETUNE_IMAGE_DIGEST"}


def code_identity(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a manifest says of the code: `version`, and `commit` and `image_digest` where the environment names them.

    `version` is left out where Retune's code runs without being installed, as in a function's bundle.
    """
    named = {name: environ[variable] for name, variable in _VARIABLES.items() if environ.get(variable)}
    try:
        return {"version": version("retune"), **named}
    except PackageNotFoundError:
        return named
