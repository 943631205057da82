"""Each test leaves the log without the fields of its last request."""

from collections.abc import Iterator

import pytest

from shared.log import fresh


@pytest.fixture(autouse=True)
def _no_fields_are_left() -> Iterator[None]:
    yield
    fresh()
