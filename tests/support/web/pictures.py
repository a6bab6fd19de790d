"""Keeps a picture of the page that a test has reached, if a folder for it is named."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page


def picture(page: Page, name: str) -> None:
    """Write ``name``.png into the folder that RIDELOG_TEST_PICTURES names; without it, do nothing."""
    folder = os.environ.get("RIDELOG_TEST_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")
