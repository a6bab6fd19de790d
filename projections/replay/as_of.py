"""As-of requests, and the horizons that they resolve to: which events count, and the instant for ages. Pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Literal, NamedTuple
from uuid import UUID

from projections.core.ports import LoggedEvent

Axis = Literal["known", "event", "position"]
"""``known`` (transaction time): the events recorded by then. ``event`` (valid time): the events that had happened by
then, whenever they were recorded. ``position``: the log up to there, which is what an answer that names the position
had applied."""


class AsOf(NamedTuple):
    """An as-of request.

    ``at_ms`` (epoch milliseconds, inclusive) is set on the axes known and event. ``position`` is set on the axis
    position; on the axis event it limits the part of the log that is read (None: everything recorded now).
    """

    axis: Axis
    at_ms: int | None = None
    position: int | None = None

    @classmethod
    def known(cls, at_ms: int) -> AsOf:
        return cls("known", at_ms)

    @classmethod
    def happened(cls, at_ms: int, position: int | None = None) -> AsOf:
        return cls("event", at_ms, position)

    @classmethod
    def at_position(cls, position: int) -> AsOf:
        return cls("position", None, position)


class AsOfProblem(Enum):
    """Why an instant, an axis and a position name no past."""

    NEGATIVE_POSITION = auto()
    UNKNOWN_AXIS = auto()
    AXIS_WITHOUT_INSTANT = auto()
    """The axis says what the instant means, and none is given."""
    INSTANT_AND_POSITION = auto()
    """Both determine the position on the axis known. On the axis event, a position limits the part of the log."""


class InvalidAsOf(ValueError):
    """The request names no past. Each caller has its own message for ``problem``, in the words of its interface."""

    def __init__(self, problem: AsOfProblem) -> None:
        super().__init__(problem.name.lower().replace("_", " "))
        self.problem = problem


def checked_as_of(at_ms: Callable[[], int] | None, axis: str | None, position: int | None) -> AsOf | None:
    """The past that an instant, an axis (None: known) and a position name; None if they name none: the present.

    ``at_ms`` parses the instant (epoch milliseconds). It is called after the axis is checked, so that of two errors
    every caller reports the same one. Raises InvalidAsOf, and what ``at_ms`` raises.
    """
    if position is not None and position < 0:
        raise InvalidAsOf(AsOfProblem.NEGATIVE_POSITION)
    if axis not in {None, "known", "event"}:
        raise InvalidAsOf(AsOfProblem.UNKNOWN_AXIS)
    if at_ms is None:
        if axis is not None:
            raise InvalidAsOf(AsOfProblem.AXIS_WITHOUT_INSTANT)
        return None if position is None else AsOf.at_position(position)
    instant_ms = at_ms()
    if axis == "event":
        return AsOf.happened(instant_ms, position)
    if position is not None:
        raise InvalidAsOf(AsOfProblem.INSTANT_AND_POSITION)
    return AsOf.known(instant_ms)


class Horizon(NamedTuple):
    """An AsOf resolved on one log; it never changes.

    An event counts if it is at or before ``position`` and, on the axis event, happened by ``happened_by_ms``. Ages are
    relative to ``at_ms``; on the axis position that is the time at which the event there was recorded.
    """

    log_id: UUID
    axis: Axis
    position: int
    happened_by_ms: int | None
    at_ms: int


class Unresolvable(Exception):
    """The log has no such instant. ``code`` is stable; the message says what to request instead."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def upto(events: list[LoggedEvent], position: int) -> tuple[list[LoggedEvent], bool]:
    """The events at or before ``position``, of events in log order; and whether later ones were cut off."""
    if not events or events[-1].position <= position:
        return events, False
    return [event for event in events if event.position <= position], True
