"""One running ridelog for all end-to-end tests; each test uses its own riders.

It ends with them, because even an idle one uses a fifth of a core.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.web.browser import browser
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running


@pytest.fixture(scope="package")
def ridelog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    with running(tmp_path_factory.mktemp("e2e") / "data") as one:
        yield one


@pytest.fixture
def rider() -> str:
    """A rider that no other test uses."""
    return f"rider-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """A Chromium without a window for the tests of one file."""
    with browser() as one:
        yield one
