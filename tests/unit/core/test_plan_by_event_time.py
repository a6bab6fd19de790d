"""Which events a question about an instant has to read, by exact plans."""

from __future__ import annotations

import pytest

from projections.core.snapshots import EventRange, ReplayPlan, plan_by_event_time


@pytest.mark.parametrize(
    ("decided", "last_version", "plan"),
    [
        pytest.param([], 0, ReplayPlan(0, 0, []), id="no event: no empty range"),
        pytest.param([], 7, ReplayPlan(0, 0, [(0, 7)]), id="nothing decided: everything from the beginning"),
        pytest.param(
            [EventRange(0, 5, 90, True)], 7, ReplayPlan(5, 90, [(5, 7)]), id="start at a checkpoint that had happened"
        ),
        pytest.param([EventRange(0, 7, 90, True)], 7, ReplayPlan(7, 90, []), id="the checkpoint is the last event"),
        pytest.param(
            [EventRange(0, 5, 90, False)], 7, ReplayPlan(0, 0, [(5, 7)]), id="a stretch that had not happened"
        ),
        pytest.param(
            [EventRange(0, 5, 90, True), EventRange(5, 9, 120, False)],
            12,
            ReplayPlan(5, 90, [(9, 12)]),
            id="neighbours: no empty range",
        ),
        pytest.param(
            [EventRange(2, 5, 90, True)], 7, ReplayPlan(0, 0, [(0, 7)]), id="events before the stretch are undecided"
        ),
        pytest.param(
            [EventRange(9, 12, 90, False)], 7, ReplayPlan(0, 0, [(0, 7)]), id="a stretch beyond the last event"
        ),
    ],
)
def test_a_plan_reads_what_is_undecided_and_starts_at_the_checkpoint(
    decided: list[EventRange], last_version: int, plan: ReplayPlan
) -> None:
    assert plan_by_event_time(decided, last_version) == plan
