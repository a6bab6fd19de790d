"""given/when/then for the Rider: past events, a command, new events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from domain.errors import DomainError
from domain.gps_ping import GpsPing, parse_ping
from domain.riders.events import RiderEvent
from domain.riders.rider import Rider

NOW_MS = 1_790_000_000_000


def a_ping(rider_id: str = "anna", t_ms: int = NOW_MS, **fields: Any) -> GpsPing:
    """A valid ping, received when it was taken unless ``received_ms`` says otherwise."""
    received_ms = fields.pop("received_ms", max(t_ms, NOW_MS))
    item = {"rider_id": rider_id, "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": t_ms, **fields}
    return parse_ping(item, received_ms)


class Given:
    """A registered rider after the ``past`` commands."""

    def __init__(self, *past: Callable[[Rider], object]) -> None:
        self._rider = Rider.register("anna", NOW_MS)
        for command in past:
            command(self._rider)
        self._rider.collect_events()
        self._version = self._rider.version

    def when(self, command: Callable[[Rider], object]) -> Then:
        try:
            answer = command(self._rider)
        except DomainError as error:
            return Then(self._rider, self._version, None, error)
        return Then(self._rider, self._version, answer, None)


class Then:
    def __init__(self, rider: Rider, version: int, answer: object, error: DomainError | None) -> None:
        self.rider = rider
        self.answer = answer
        self._version = version
        self._error = error

    def then(self, *expected: type[RiderEvent]) -> Then:
        """Exactly these events followed, with consecutive versions."""
        if self._error is not None:
            raise self._error
        events = self.rider.collect_events()
        assert [type(event) for event in events] == list(expected)
        numbers = [event.originator_version for event in events]
        assert numbers == list(range(self._version + 1, self._version + 1 + len(expected)))
        return self

    def then_refused(self, error: type[DomainError]) -> None:
        """The command was rejected with this error, and there is no event."""
        if self._error is None:
            pytest.fail(f"not refused; expected {error.__name__}")
        assert type(self._error) is error
        assert not self.rider.collect_events()
        assert self.rider.version == self._version
