"""The application service for riders: the library's Application, with a batch path for pings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import (
    InfrastructureFactory,
    MapperDeserialisationError,
    StoredEvent,
    TrackingRecorder,
)
from eventsourcing.utils import Environment

from domain.command_log import CommandLog
from domain.event_store import EventHistory, EventStoreRecorder
from domain.gps_ping import GpsPing
from domain.identifiers import aggregate_id
from domain.live_aggregates import AggregateStore, LiveAggregates
from domain.origin import Origin, made_command_id
from domain.riders.events import PingRecorded
from domain.riders.ping_batch import (
    Decision,
    PingOutcome,
    PositionedPing,
    RecordedPing,
    apply_pings,
    events_in_ping_order,
    events_in_rider_order,
    group_by_rider,
    identities_to_check,
    note_positions,
    note_positions_in_ping_order,
    outcomes,
    registered_by,
)
from domain.riders.rider import PingKey, Rider

log = logging.getLogger("ridelog.riders")

Decide = Callable[[Sequence[Decision]], None]
Arrange = Callable[[Sequence[Decision]], list[StoredEvent]]
NotePositions = Callable[[Sequence[Decision], int], None]

MAX_RELOADED_IN_LOCK = 16
"""Riders that a batch of pings, or of commands on deliveries, may reload while it holds the log's lock.

A rider is loaded from up to a thousand events, some milliseconds of CPU. When pings move from one process to another,
as in a failover of a load balancer, every rider of a batch is stale. To reload all of them inside the lock stops every
writer for seconds, and the server may end the transaction as idle.
"""
RELOADS_OUTSIDE_LOCK = 2
"""How often a batch leaves the lock to reload more riders than that. After it the batch reloads what is left inside."""


class TooManyStaleRiders(Exception):
    """A batch would reload too many riders inside the lock. Nothing was recorded.

    ``aggregates``: all that another writer changed.
    """

    def __init__(self, aggregates: set[UUID]) -> None:
        super().__init__(f"{len(aggregates)} aggregates were changed by another writer")
        self.aggregates = aggregates


class Riders(Application[UUID]):
    """Commands on riders. One instance per process; not thread-safe, so one writer at a time uses it.

    ``live``, ``command_log`` and ``store`` are shared with ``Deliveries``, whose commands change riders too.

    ``factory`` gives the mapper, the snapshots and the recorder, which must also be an
    ``domain.event_store.EventStoreRecorder``; the rest of the library's Application (repository, notification log)
    works as usual on them. ``on_log_restored`` is called when the log turns out to be another one, or an older state of
    it, before anything is decided again: whatever is cached of the log must be dropped then.
    """

    def __init__(
        self,
        factory: InfrastructureFactory[TrackingRecorder],
        history: EventHistory,
        *,
        cached_riders: int = 100_000,
        snapshot_every: int = 1000,
        on_log_restored: Callable[[], None] = lambda: None,
    ) -> None:
        self._given_factory = factory
        super().__init__()
        self._history = history
        self.store = AggregateStore(history, self.mapper, self.snapshots)
        self.live = LiveAggregates(Rider, self.store, most=cached_riders, snapshot_every=snapshot_every)
        self.command_log = CommandLog(cast("EventStoreRecorder", self.recorder), on_log_restored)
        self.command_log.register(self.live)

    def construct_factory(self, env: Environment) -> InfrastructureFactory[TrackingRecorder]:
        return self._given_factory

    def record_pings(self, pings: Sequence[GpsPing]) -> list[PingOutcome]:
        """Record a batch in one transaction. Returns one outcome per ping, in order.

        Raises the library's PersistenceError if the batch could not be recorded. Then no rider of the batch stays
        cached, since it is unknown whether the commit succeeded. A ping may be sent again at any time.
        """
        decisions = group_by_rider(pings)
        self._decide_and_append(decisions, self._decide_pings)
        return outcomes(decisions, len(pings))

    def backfill(self, pings: Sequence[GpsPing]) -> list[PingOutcome]:
        """Record history in one transaction, each event as of its ping's reception. Returns one outcome per ping.

        ``pings`` must be in the order of their reception, across batches too. Raises OrderBroken if they are not, or if
        another writer has recorded something later meanwhile, and PersistenceError as ``record_pings`` does. Nothing of
        the batch is recorded then.
        """
        decisions = group_by_rider(pings)
        positioned: list[PositionedPing] = []

        def arrange(decisions: Sequence[Decision]) -> list[StoredEvent]:
            positioned[:] = events_in_ping_order(decisions)
            return [self.command_log.with_recorded_at(each.event, each.received_ms) for each in positioned]

        self._decide_and_append(
            decisions, self._decide_pings, arrange, lambda _, first: note_positions_in_ping_order(positioned, first)
        )
        return outcomes(decisions, len(pings))

    def start_shift(self, rider_id: str, at_ms: int) -> None:
        self._command(rider_id, at_ms, lambda rider, origin: rider.start_shift(at_ms, origin))

    def end_shift(self, rider_id: str, at_ms: int) -> None:
        self._command(rider_id, at_ms, lambda rider, origin: rider.end_shift(at_ms, origin))

    def get(self, rider_id: str) -> Rider:
        """The rider as recorded. Raises AggregateNotFoundError."""
        return self.repository.get(aggregate_id(Rider.AGGREGATE_TYPE, rider_id))

    def _command(self, rider_id: str, at_ms: int, act: Callable[[Rider, Origin], None]) -> None:
        def decide_one(decisions: Sequence[Decision]) -> None:
            (decision,) = decisions
            known = self.live.load([rider_id])[rider_id]
            aggregate = aggregate_id(Rider.AGGREGATE_TYPE, rider_id)
            origin = Origin(command_id=made_command_id(aggregate, known.version if known else 0))
            rider = decision.rider = known or Rider.register(rider_id, at_ms, origin)
            try:
                act(rider, origin)
            except BaseException:
                self.live.forget(rider_id)
                raise
            decision.events = self.live.collect(rider)

        self._decide_and_append([Decision(rider_id)], decide_one)

    def _decide_and_append(
        self,
        decisions: Sequence[Decision],
        decide_all: Decide,
        arrange: Arrange = events_in_rider_order,
        note: NotePositions = note_positions,
    ) -> None:
        """Decide and append; decide again on riders that another writer changed meanwhile, inside the lock if few.

        ``arrange`` gives the events their order in the log. ``note`` notes the positions that the log assigned.
        """
        by_aggregate = {aggregate_id(Rider.AGGREGATE_TYPE, d.rider_id): d for d in decisions}
        undecided, reloads_left = decisions, RELOADS_OUTSIDE_LOCK

        def forgotten(conflicts: set[UUID]) -> list[Decision]:
            stale = [by_aggregate[aggregate] for aggregate in conflicts]
            for decision in stale:
                self.live.forget(decision.rider_id)
            return stale

        def redecide(conflicts: set[UUID]) -> list[StoredEvent]:
            if len(conflicts) > MAX_RELOADED_IN_LOCK and reloads_left:
                raise TooManyStaleRiders(conflicts)
            decide_all(forgotten(conflicts))
            return arrange(decisions)

        def decide() -> list[StoredEvent]:
            nonlocal undecided
            # A second call comes after a restore of the log, when no decision is valid any more.
            now, undecided = undecided, decisions
            decide_all(now)
            return arrange(decisions)

        while True:
            try:
                recorded = self.command_log.append(decide, redecide)
                break
            except TooManyStaleRiders as error:
                # The append compares the versions of all riders again, so the other decisions need no repetition.
                undecided = forgotten(error.aggregates)
                reloads_left -= 1
            except BaseException:
                for decision in decisions:
                    self.live.forget(decision.rider_id)
                raise
        note(decisions, recorded.positions.start)
        for decision in decisions:
            self.live.keep(decision.rider_id, decision.loaded, len(decision.events))

    def _decide_pings(self, decisions: Sequence[Decision]) -> None:
        riders = self.live.load([d.rider_id for d in decisions])
        for decision in decisions:
            decision.rider = riders[decision.rider_id] or registered_by(decision.pings[0][1])
        recorded = self._find_recorded(decisions)
        for decision in decisions:
            apply_pings(decision, recorded.get(decision.rider_id, {}))
            decision.events = self.live.collect(decision.loaded)

    def _find_recorded(self, decisions: Sequence[Decision]) -> dict[str, dict[PingKey, RecordedPing]]:
        """Recorded pings with the identity of one in the batch, by rider.

        Read after the riders are loaded: if another writer has recorded one since, the version check detects it.
        """
        to_check = identities_to_check(decisions)
        found: dict[str, dict[PingKey, RecordedPing]] = {}
        for identity, (position, payload) in self._history.find_pings(list(to_check)).items():
            stored = StoredEvent(identity.aggregate_id, 0, PingRecorded.RECORD, payload)
            try:
                ping = cast("PingRecorded", self.mapper.to_domain_event(stored)).ping
            except MapperDeserialisationError as error:
                log.error("a recorded ping at position %d cannot be read: %s", position, error)
                ping = None
            key = (identity.event_timestamp_ms, identity.event_id)
            found.setdefault(to_check[identity], {})[key] = RecordedPing(position, ping)
        return found


__all__ = ["AggregateNotFoundError", "PingOutcome", "Riders"]
