"""What every test needs: conflicts are tried again at once."""

import pytest

from shared import cas


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the jittered wait out of the loop around a commit: tests never sleep."""
    monkeypatch.setattr(cas, "_pause", lambda _seconds: None)
