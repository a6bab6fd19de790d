"""Which tests run beside which, with more than one worker.

A fault is waited for more than it is worked at, so one at a time leaves room for the rest of the suite beside it; two
at once make each other late.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

ONE_BY_ONE = ("tests/faults/", "tests/e2e/")
"""Rooms that one worker goes through alone, file by file."""


class SideBySide(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Files go to whichever worker is free; those of a room that is gone through one by one stay together."""

    def _split_scope(self, nodeid: str) -> str:
        room = next((room for room in ONE_BY_ONE if nodeid.startswith(room)), None)
        return room or str(super()._split_scope(nodeid))


def longest_first(items: list[pytest.Item]) -> None:
    """The rooms first: what is begun last should be short, or one worker waits for the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(ONE_BY_ONE))
