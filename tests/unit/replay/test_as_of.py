"""An instant, an axis and a position: which past they name, and what HTTP and the command line answer if none."""

from __future__ import annotations

import pytest

from infrastructure.http import time_travel
from infrastructure.http.errors import ApiError
from infrastructure.replay import queries
from projections.replay.as_of import AsOf, AsOfProblem, InvalidAsOf, checked_as_of

PASTS = [
    (None, None, None, None),
    (None, None, 0, AsOf.at_position(0)),
    (None, None, 7, AsOf.at_position(7)),
    (5, None, None, AsOf.known(5)),
    (5, "known", None, AsOf.known(5)),
    (5, "event", None, AsOf.happened(5)),
    (5, "event", 7, AsOf.happened(5, 7)),
]
PROBLEMS = [
    (None, None, -1, AsOfProblem.NEGATIVE_POSITION, "invalid_request"),
    (5, "event", -1, AsOfProblem.NEGATIVE_POSITION, "invalid_request"),
    (5, "recorded", None, AsOfProblem.UNKNOWN_AXIS, "invalid_axis"),
    (None, "position", 7, AsOfProblem.UNKNOWN_AXIS, "invalid_axis"),
    (None, "known", None, AsOfProblem.AXIS_WITHOUT_INSTANT, "invalid_request"),
    (None, "event", 7, AsOfProblem.AXIS_WITHOUT_INSTANT, "invalid_request"),
    (5, None, 7, AsOfProblem.INSTANT_AND_POSITION, "invalid_request"),
    (5, "known", 7, AsOfProblem.INSTANT_AND_POSITION, "invalid_request"),
]


@pytest.mark.parametrize(("at_ms", "axis", "position", "past"), PASTS)
def test_what_names_a_past(at_ms: int | None, axis: str | None, position: int | None, past: AsOf | None) -> None:
    assert checked_as_of(None if at_ms is None else lambda: at_ms, axis, position) == past


@pytest.mark.parametrize(("at_ms", "axis", "position", "past"), PASTS)
def test_http_and_the_command_line_name_the_same_past(
    at_ms: int | None, axis: str | None, position: int | None, past: AsOf | None
) -> None:
    at = None if at_ms is None else str(at_ms)
    assert time_travel.as_of(at, axis, None if position is None else str(position)) == past
    if past is not None:
        assert queries.as_of(at, axis or "known", position) == past


@pytest.mark.parametrize(("at_ms", "axis", "position", "problem", "code"), PROBLEMS)
def test_what_names_no_past(
    at_ms: int | None, axis: str | None, position: int | None, problem: AsOfProblem, code: str
) -> None:
    with pytest.raises(InvalidAsOf) as found:
        checked_as_of(None if at_ms is None else lambda: at_ms, axis, position)
    assert found.value.problem is problem
    with pytest.raises(ApiError) as answer:
        time_travel.as_of(None if at_ms is None else str(at_ms), axis, None if position is None else str(position))
    assert (answer.value.status, answer.value.code) == (400, code)


def test_an_unknown_axis_is_reported_before_an_unreadable_instant() -> None:
    with pytest.raises(ApiError) as answer:
        time_travel.as_of("yesterday", "recorded", None)
    assert answer.value.code == "invalid_axis"
    with pytest.raises(ValueError, match="--axis is known or event, not 'recorded'"):
        queries.as_of("yesterday", "recorded", None)


@pytest.mark.parametrize(
    ("at", "axis", "position", "message"),
    [
        (None, "known", None, "as of when? give --at, or --position"),
        (None, "event", None, "as of when? give --at, or --position"),
        (None, "position", None, "--axis is known or event, not 'position'; for a position give --position"),
        (None, "event", 7, "--axis says what --at means: give --at too, or omit --axis"),
        ("5", "known", 7, "give either --at or --position; both only with --axis event"),
    ],
)
def test_the_command_line_names_its_options(at: str | None, axis: str, position: int | None, message: str) -> None:
    with pytest.raises(ValueError) as found:
        queries.as_of(at, axis, position)
    assert str(found.value) == message
