"""Terraform where it is to be had: skipped on a laptop without, a failure where RETUNE_REQUIRE_TERRAFORM=1."""

import os
from pathlib import Path

import pytest

from tests.infra.terraform import NoTerraform, Workspace, workspace


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small copy of infra/, initialised; tests leave it as it is."""
    return made_or_skipped(tmp_path_factory.mktemp("terraform"))


def made_or_skipped(root: Path, *, small: bool = True) -> Workspace:
    try:
        return workspace(root, small=small)
    except NoTerraform as missing:
        if os.environ.get("RETUNE_REQUIRE_TERRAFORM") == "1":
            pytest.fail(f"RETUNE_REQUIRE_TERRAFORM=1: {missing}")
        pytest.skip(f"infra is not checked: {missing}; install terraform 1.11 or newer")
