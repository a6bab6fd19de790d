"""One Chromium for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.web.browser import browser


@pytest.fixture(scope="package")
def chrome() -> Iterator[Browser]:
    """Each test opens pages in a context of its own, which shares nothing with others.

    Not for all of ``tests/e2e``: while a Chromium is open, no command may run an event loop in the test's thread.
    """
    with browser() as one:
        yield one
