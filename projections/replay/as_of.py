"""The ways to say "as of", and what they come down to: which events count, and when it was. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID

from projections.core.ports import LoggedEvent

Axis = Literal["known", "event", "position"]
"""``known``: the events recorded by then. ``event``: those that had happened by then, whenever they were recorded.
``position``: the log up to there, which is what a serving that names the position had applied."""


class AsOf(NamedTuple):
    """What somebody asks for. ``at_ms`` (epoch milliseconds, inclusive) on the axes known and event; ``position`` on
    the axis position, and on the axis event the part of the log to look at (None: all that is recorded now)."""

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


class Horizon(NamedTuple):
    """An AsOf resolved on one log, for ever: an event counts if it lies at ``position`` or before and, on the event
    axis, happened by ``happened_by_ms``. Ages are relative to ``at_ms``; on the axis position that is the time at which
    the event there was recorded."""

    log_id: UUID
    axis: Axis
    position: int
    happened_by_ms: int | None
    at_ms: int


class Unresolvable(Exception):
    """There is no such instant on this log; ``code`` is stable, the text says what to ask for instead."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


def upto(events: list[LoggedEvent], position: int) -> tuple[list[LoggedEvent], bool]:
    """The events at ``position`` or before, of events in the order of the log; and whether that was not all."""
    if not events or events[-1].position <= position:
        return events, False
    return [event for event in events if event.position <= position], True
