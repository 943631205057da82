"""What every test needs: conflicts are tried again at once, the log has no fields of an earlier test, and what Hypothesis draws is the same in every run.

`pytest --hypothesis-profile=default` draws anew.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from shared import cas
from shared.log import fresh

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the jittered wait out of the loop around a commit: tests never sleep."""
    monkeypatch.setattr(cas, "_pause", lambda _seconds: None)


@pytest.fixture(autouse=True)
def no_fields_in_the_log() -> Iterator[None]:
    """Leave the log without the fields of the last request, which the next test would find on its lines."""
    yield
    fresh()
