"""Schedules which tests run concurrently when there is more than one worker.

Fault tests mostly wait, so one of them at a time leaves capacity for the rest of the suite. Two at a time delay each
other.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

ONE_BY_ONE = ("tests/faults/", "tests/e2e/")
"""Folders that one worker runs alone, file by file."""


class SideBySide(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Each file goes to a free worker. All files of a folder in ONE_BY_ONE go to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        room = next((room for room in ONE_BY_ONE if nodeid.startswith(room)), None)
        return room or str(super()._split_scope(nodeid))


def longest_first(items: list[pytest.Item]) -> None:
    """Start the folders of ONE_BY_ONE first. What starts last should be short, so that no worker waits for another."""
    items.sort(key=lambda item: not item.nodeid.startswith(ONE_BY_ONE))
