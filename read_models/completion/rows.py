"""Computes which rows a rider's event changes: legs, sums by place, and cases for the desk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.features.case_file import CaseFile, case_bytes
from domain.features.completion import rules
from domain.features.completion.fold import CompletionState, FinalLeg
from domain.features.completion.result import LegResult
from domain.timestamps import utc_datetime
from read_models.rows import RowChange

LEG_COLUMNS = (
    "position",
    "place",
    "outcome",
    "started_at",
    "approach_at",
    "arrived_at",
    "done_at",
    "button_at",
    "basis",
    "certainty",
    "distance_mm",
    "accuracy_mm",
    "button_distance_mm",
    "approach_event",
    "arrived_event",
    "done_event",
    "button_event",
)
"""The columns of a leg, each replaced by every change, in the order of a LegResult after its order and leg."""

PLACE_SUMS = ("stops", "north_mm", "east_mm", "far_stops")
"""North and east: the sum of the offsets of the stops from the target. Far: beyond FAR_STOP_MM."""


def changes(key: str, state: CompletionState) -> Sequence[RowChange]:
    """The changes that the last event of the rider ``key`` makes."""
    if not state.results and not state.finals:
        return ()
    found = [_leg(key, state.position, result) for result in state.results]
    for final in state.finals:
        found += _of_final(final)
    return found


def _leg(rider_id: str, position: int, result: LegResult) -> RowChange:
    times = (result.started_ms, result.approach_ms, result.arrived_ms, result.done_ms, result.button_ms)
    instants = [None if ms is None else utc_datetime(ms) for ms in times]
    latest = (position, result.place, result.outcome, *instants, *map(_text, result[9:]))
    return RowChange("completion_legs", (result.order_id, result.leg, rider_id), (), latest)


def _text(value: Any) -> Any:
    """Members of enums as plain text."""
    return str(value) if isinstance(value, str) else value


def _of_final(final: FinalLeg) -> list[RowChange]:
    found = []
    if final.stop is not None:
        _, _, _, north, east, _ = final.stop
        is_far = int(north * north + east * east > rules.FAR_STOP_MM**2)
        found.append(RowChange("completion_places", (final.place, final.leg), (1, north, east, is_far)))
    if final.case is not None:
        found.append(_case(final.case))
    return found


def _case(case: CaseFile) -> RowChange:
    raised = utc_datetime(case.raised_at_ms)
    signals = ",".join(sorted(signal.name for signal in case.signals))
    return RowChange(
        "completion_cases",
        (case.alert_id,),
        (),
        (
            case.rider_id,
            raised,
            raised,
            case.score,
            signals,
            case.order_id,
            case.leg,
            case.position,
            case.raised_position,
            case.fold_version,
            case_bytes(case),
        ),
    )
