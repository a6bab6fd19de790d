"""One Chromium and one running ridelog for all tests of the page. Both end with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.web.browser import browser
from tests.support.web.page import city_with_tokens
from tests.support.worlds.ridelog import Ridelog


@pytest.fixture(scope="package")
def chrome() -> Iterator[Browser]:
    """Each test opens pages in a context of its own, which shares nothing with others.

    Not for all of ``tests/e2e``: while a Chromium is open, no command may run an event loop in the test's thread.
    """
    with browser() as one:
        yield one


@pytest.fixture(scope="package")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    """One ridelog with tokens for all tests of the page; each test uses its own riders and orders."""
    with city_with_tokens(tmp_path_factory.mktemp("page") / "data") as one:
        yield one
