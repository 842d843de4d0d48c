"""What tests in a browser share: the browser."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.doubles.chromium import as_new, chromium


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as one:
        yield one


@pytest.fixture
def browser(_chromium: webdriver.Chrome) -> webdriver.Chrome:
    """The browser of this process, as new."""
    return as_new(_chromium)
