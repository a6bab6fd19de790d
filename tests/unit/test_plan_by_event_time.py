"""Which events a question about an instant has to read, by exact plans."""

from __future__ import annotations

import pytest

from projections.core.snapshots import Plan, Stretch, plan_by_event_time


@pytest.mark.parametrize(
    ("decided", "last_version", "plan"),
    [
        pytest.param([], 0, Plan(0, 0, []), id="no event: no empty range"),
        pytest.param([], 7, Plan(0, 0, [(0, 7)]), id="nothing decided: everything from the beginning"),
        pytest.param([Stretch(0, 5, 90, True)], 7, Plan(5, 90, [(5, 7)]), id="start at a checkpoint that had happened"),
        pytest.param([Stretch(0, 7, 90, True)], 7, Plan(7, 90, []), id="the checkpoint is the last event"),
        pytest.param([Stretch(0, 5, 90, False)], 7, Plan(0, 0, [(5, 7)]), id="a stretch that had not happened"),
        pytest.param(
            [Stretch(0, 5, 90, True), Stretch(5, 9, 120, False)],
            12,
            Plan(5, 90, [(9, 12)]),
            id="neighbours: no empty range",
        ),
        pytest.param([Stretch(2, 5, 90, True)], 7, Plan(0, 0, [(0, 7)]), id="events before the stretch are undecided"),
        pytest.param([Stretch(9, 12, 90, False)], 7, Plan(0, 0, [(0, 7)]), id="a stretch beyond the last event"),
    ],
)
def test_a_plan_reads_what_is_undecided_and_starts_at_the_checkpoint(
    decided: list[Stretch], last_version: int, plan: Plan
) -> None:
    assert plan_by_event_time(decided, last_version) == plan
