"""What a manifest says of the code that made a model."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from shared import code_identity as module
from shared.code_identity import code_identity


def test_the_build_is_named_where_the_environment_names_it() -> None:
    environ = {"RETUNE_COMMIT": "2f891c5", "RETUNE_IMAGE_DIGEST": "sha256:ab", "HOME": "/"}
    assert code_identity(environ) == {"version": version("retune"), "commit": "2f891c5", "image_digest": "sha256:ab"}
    assert code_identity({"RETUNE_COMMIT": ""}) == {"version": version("retune")}


def test_code_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", absent)
    assert code_identity({"RETUNE_COMMIT": "2f891c5"}) == {"commit": "2f891c5"}
