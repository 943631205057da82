"""What every test needs: conflicts are tried again at once, and what Hypothesis draws is the same in every run.

`pytest --hypothesis-profile=default` draws anew.
"""

import pytest
from hypothesis import settings

from shared import cas

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the jittered wait out of the loop around a commit: tests never sleep."""
    monkeypatch.setattr(cas, "_pause", lambda _seconds: None)
