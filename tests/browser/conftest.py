"""A browser where one is to be had: skipped on a machine without, a failure where RETUNE_REQUIRE_BROWSER=1."""

import os
from collections.abc import Iterator

import pytest

from tests.browser.page import NAMES, Browser, Page, find_browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One headless Chromium for all tests; each has a page of its own."""
    executable = find_browser()
    if executable is None:
        if os.environ.get("RETUNE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"RETUNE_REQUIRE_BROWSER=1: expected one of {', '.join(NAMES)} on the PATH, found none")
        pytest.skip("no Chromium or Chrome is installed; apt-get install chromium, or name one in RETUNE_BROWSER")
    browser = Browser(executable, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Page]:
    """An empty page that shares nothing with any other test's."""
    with chromium.page() as page:
        yield page
