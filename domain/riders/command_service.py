"""The application service for commands of people on riders: each batch in one transaction of the one log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from domain.deliveries.batch import copy_of
from domain.errors import DomainError, UnknownRider
from domain.event_store import EventHistory
from domain.live_aggregates import LiveAggregates
from domain.riders.application import Riders
from domain.riders.commands import CloseStatement, ReviewAlert, RiderCommand
from domain.riders.rider import Rider


class RiderCommandOutcome(NamedTuple):
    """The result for one command. ``recorded`` is False for a repeat. ``position`` is that of the event, if any."""

    recorded: bool
    position: int | None = None
    rejection: DomainError | None = None


class RiderCommands:
    """Commands on riders, on the log and the riders in memory of ``riders``.

    One instance per process. Not thread-safe: at any time, only one of this, ``riders`` and ``Deliveries`` executes.
    """

    def __init__(self, riders: Riders) -> None:
        self._riders = riders.live
        self._log = riders.command_log
        self._history = riders.store.history

    def execute(self, commands: Sequence[RiderCommand]) -> list[RiderCommandOutcome]:
        """Decide and record a batch in one transaction. Returns one outcome per command, in order.

        A command that is rejected fails no other one. Every batch reads its riders from the log: a repeat and a
        rejection have no event whose version an append could compare, so memory may be too old for them. Raises the
        library's PersistenceError if the batch could not be recorded. Every command may be sent again.
        """
        batch = _Batch(commands, self._riders)

        def decide() -> list[StoredEvent]:
            batch.restart()
            batch.decide()
            return batch.events

        def redecide(conflicts: set[UUID]) -> list[StoredEvent]:
            # Inside the log's lock nothing changes any more. To read every rider again would keep all writers waiting.
            batch.forget_stale(conflicts, self._history)
            batch.decide()
            return batch.events

        try:
            recorded = self._log.append(decide, redecide)
        except BaseException:
            batch.forget()
            raise
        batch.keep()
        return batch.outcomes(recorded.positions.start)


class _Batch:
    """The commands of one transaction, and the decisions on them."""

    def __init__(self, commands: Sequence[RiderCommand], riders: LiveAggregates[Rider]) -> None:
        self._commands = commands
        self._live = riders
        self._loaded: dict[str, Rider | None] = {}
        self._riders: dict[str, Rider | None] = {}
        """Copies of the loaded ones, after the commands that were decided so far."""
        self._new_events: dict[str, int] = {}
        self._decisions: list[tuple[int | None, DomainError | None]] = []
        """Of each command: the place of its event in the batch, and why it was rejected."""
        self.events: list[StoredEvent] = []

    def restart(self) -> None:
        """Forget what the batch has read, so that the next decision reads it."""
        self._loaded = {}

    def forget_stale(self, conflicts: set[UUID], history: EventHistory) -> None:
        """Forget the riders that are not as in the log: those of ``conflicts``, and others without a new event."""
        compared = {self._live.id_of(key): key for key in self._loaded if not self._new_events.get(key)}
        latest = history.latest(compared)
        for aggregate, key in compared.items():
            rider, last = self._loaded[key], latest.get(aggregate)
            if (rider.version if rider else 0) != (last.version if last else 0):
                del self._loaded[key]
        for key in [key for key in self._loaded if self._live.id_of(key) in conflicts]:
            del self._loaded[key]

    def decide(self) -> None:
        """Decide every command. A rider that is not read yet is read from the log now."""
        rejected: dict[int, DomainError] = {}
        for index, command in enumerate(self._commands):
            try:
                command.check()
            except DomainError as error:
                rejected[index] = error
        accepted = [command for index, command in enumerate(self._commands) if index not in rejected]
        wanted = dict.fromkeys(command.rider_id for command in accepted)
        self._loaded |= self._live.read([key for key in wanted if key not in self._loaded])
        self._riders = {key: copy_of(rider) if rider else None for key, rider in self._loaded.items()}
        self.events, self._new_events = [], {}
        self._decisions = [
            (None, rejected[index]) if index in rejected else self._decide(command)
            for index, command in enumerate(self._commands)
        ]

    def _decide(self, command: RiderCommand) -> tuple[int | None, DomainError | None]:
        rider = self._riders[command.rider_id]
        if rider is None:
            return None, UnknownRider(f"there is no rider {command.rider_id}")
        try:
            if not _act(rider, command):
                return None, None
        except DomainError as error:
            return None, error
        place, new = len(self.events), self._live.collect(rider)
        self.events += new
        self._new_events[command.rider_id] = self._new_events.get(command.rider_id, 0) + len(new)
        return place, None

    def keep(self) -> None:
        """Keep the changed riders in memory, after the append."""
        for rider_id, count in self._new_events.items():
            rider = self._riders[rider_id]
            assert rider is not None, "only a loaded rider has new events"
            self._live.keep(rider_id, rider, count)

    def forget(self) -> None:
        """Forget every rider of the batch, since it is unknown whether the commit succeeded."""
        for rider_id in self._loaded:
            self._live.forget(rider_id)

    def outcomes(self, first_position: int) -> list[RiderCommandOutcome]:
        """One outcome a command, after the append that recorded the events from ``first_position`` on."""
        return [
            RiderCommandOutcome(place is not None, None if place is None else first_position + place, error)
            for place, error in self._decisions
        ]


def _act(rider: Rider, command: RiderCommand) -> bool:
    """Whether the command was new. Raises the errors that the aggregate names."""
    if isinstance(command, ReviewAlert):
        return rider.review_alert(command)
    assert isinstance(command, CloseStatement), "there are two commands on riders"
    return rider.close_statement(command)
