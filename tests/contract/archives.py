"""What the suites of the Archive port give and ask."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from projections.core.ports import LoggedEvent
from projections.replay.as_of import Unresolvable
from tests.support.worlds.archive_worlds import T0, Given

FAR = 1 << 62
"""Past all that a timestamp of any store can hold."""


def versions(events: list[LoggedEvent]) -> list[int]:
    return [event.version for event in events]


def anna(*event_ms: int) -> list[Given]:
    return [Given("anna", T0 + ms, number) for number, ms in enumerate(event_ms)]


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Unresolvable) as caught:
        act()
    return caught.value.code
