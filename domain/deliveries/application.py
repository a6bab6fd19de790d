"""The application service for deliveries: batches of commands, each batch in one transaction of the one log."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent

from domain.deliveries.batch import Batch, CommandOutcome
from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.live import LiveDeliveries
from domain.deliveries.values import DeliverySnapshot
from domain.errors import DomainError, UnknownDelivery
from domain.event_store import RecordedRef, RecordedVersion
from domain.riders.application import MAX_RELOADED_IN_LOCK, RELOADS_OUTSIDE_LOCK, Riders, TooManyStaleRiders


class Deliveries:
    """Commands on deliveries, on the log and the riders of ``riders``: both aggregates are recorded in one transaction.

    One instance per process. Not thread-safe, except ``get``: at any time, either this or ``riders`` executes commands.
    """

    def __init__(self, riders: Riders, *, cached_deliveries: int = 50_000, snapshot_every: int = 100) -> None:
        self._riders = riders.live
        self._log = riders.command_log
        self._history = riders.store.history
        self._live = LiveDeliveries(riders.store, most=cached_deliveries, snapshot_every=snapshot_every)
        self._log.register(self._live)

    def execute(self, commands: Sequence[DeliveryCommand]) -> list[CommandOutcome]:
        """Decide and record a batch in one transaction. Returns one outcome per command, in order.

        A command that is rejected fails no other one. Raises the library's PersistenceError if the batch could not be
        recorded; then nothing of it stays in memory, since it is unknown whether the commit succeeded. Every command
        may be sent again: what was recorded is a repeat then.
        """
        rejected = {index: error for index, error in enumerate(map(_problem, commands)) if error is not None}
        accepted = [command for index, command in enumerate(commands) if index not in rejected]
        batch = Batch(accepted, self._live, self._riders)
        try:
            recorded = self._append(batch)
        except BaseException:
            batch.forget(set())
            raise
        batch.keep(recorded.positions.start)
        decided = iter(batch.outcomes(recorded.positions.start))
        return [_rejected(rejected[i]) if i in rejected else next(decided) for i in range(len(commands))]

    def get(self, order_id: str) -> DeliverySnapshot:
        """The delivery as the log has it now. Thread-safe. Raises UnknownDelivery or UnreadableDelivery."""
        found = self._live.read_positioned([order_id])[order_id]
        if found is None:
            raise UnknownDelivery(f"no order {order_id} was placed")
        return found.aggregate.snapshot(found.position)

    def _append(self, batch: Batch) -> RecordedRef:
        """Decide and append; decide again on what another writer changed meanwhile, inside the lock if few riders."""
        goes_on, reloads_left = False, RELOADS_OUTSIDE_LOCK

        def decide() -> list[StoredEvent]:
            nonlocal goes_on
            if not goes_on:
                # The first call, or one after a restore of the log: nothing that is loaded is valid then.
                batch.restart()
            goes_on = False
            batch.decide()
            for _ in range(_MAX_RELOADS):
                # An append compares only aggregates with new events.
                stale = self._stale(batch, batch.consulted())
                if not stale:
                    return batch.events
                batch.forget(batch.loaded().keys() - stale)
                batch.decide()
            some = ", ".join(sorted(map(str, stale))[:3])
            raise IntegrityError(f"the log does not continue {len(stale)} aggregate(s) as they are loaded: {some}")

        def redecide(conflicts: set[UUID]) -> list[StoredEvent]:
            loaded = batch.loaded().keys()
            # The append has just compared those with new events. The new decisions may depend on any of the others.
            stale = conflicts | self._stale(batch, loaded - batch.written().keys())
            if reloads_left and len(batch.riders_in(stale)) > MAX_RELOADED_IN_LOCK:
                raise TooManyStaleRiders(stale)
            batch.forget(loaded - stale)
            batch.decide(in_lock=True)
            return batch.events

        while True:
            try:
                return self._log.append(decide, redecide)
            except TooManyStaleRiders as error:
                batch.forget(batch.loaded().keys() - error.aggregates)
                goes_on = True
                reloads_left -= 1

    def _stale(self, batch: Batch, checked: set[UUID]) -> set[UUID]:
        """Those of the loaded aggregates ``checked`` that are not as in the log."""
        if not checked:
            return set()
        latest, loaded = self._history.latest(checked), batch.loaded()
        return {each for each in checked if not _is_current(loaded[each], latest.get(each, _WITHOUT_EVENT))}


_MAX_RELOADS = 100
"""How often a batch is decided because aggregates were not current. An aggregate that never is (its snapshot is ahead
of the log) must not keep the one writer of all pings and commands busy for ever."""

_WITHOUT_EVENT = RecordedVersion(0, 0)


def _is_current(loaded: RecordedVersion, latest: RecordedVersion) -> bool:
    # A restored log assigns versions again, to events at other positions (invariant 14).
    return loaded.version == latest.version and loaded.position in (0, latest.position)


def _problem(command: DeliveryCommand) -> DomainError | None:
    try:
        command.check()
    except DomainError as error:
        return error
    return None


def _rejected(error: DomainError) -> CommandOutcome:
    return CommandOutcome(None, recorded=False, rejection=error)
