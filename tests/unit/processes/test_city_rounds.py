"""When the city process makes its next snapshot."""

from __future__ import annotations

import pytest

from domain.features.eta.features import CITY_STALE_MS
from infrastructure.processes.city import UNCHANGED_INTERVAL_S, is_due


@pytest.mark.parametrize(
    ("age_s", "has_all", "due"),
    [
        (2.0, False, True),
        (2.0, True, False),
        (UNCHANGED_INTERVAL_S - 0.001, True, False),
        (UNCHANGED_INTERVAL_S, True, True),
        (UNCHANGED_INTERVAL_S, False, True),
    ],
)
def test_a_snapshot_is_made_after_an_event_at_once_and_else_every_ten_seconds(
    age_s: float, has_all: bool, due: bool
) -> None:
    assert is_due(age_s, lambda: has_all) is due


def test_the_snapshot_of_a_quiet_night_never_counts_as_stale() -> None:
    assert UNCHANGED_INTERVAL_S * 3 < CITY_STALE_MS / 1_000
