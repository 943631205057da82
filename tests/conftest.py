"""What every test needs: an order, no pauses between tries, a log without fields of an earlier test, and the same draws of Hypothesis in every run.

`pytest --hypothesis-profile=default` draws anew.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from shared import cas
from shared.log import fresh
from tests.reading_order import place

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests in the order in which `tests/README.md` tells them: what others build on comes first."""
    items.sort(key=lambda item: place(item.path))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the jittered wait out of the loop around a commit: tests never sleep."""
    monkeypatch.setattr(cas, "_pause", lambda _seconds: None)


@pytest.fixture(autouse=True)
def no_fields_in_the_log() -> Iterator[None]:
    """Leave the log without the fields of the last request, which the next test would find on its lines."""
    yield
    fresh()
