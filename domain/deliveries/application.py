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
from domain.event_store import RecordedVersion
from domain.riders.application import Riders


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

        def decide() -> list[StoredEvent]:
            batch.restart()
            batch.decide()
            for _ in range(_MAX_RELOADS):
                stale = self._stale(batch)
                if not stale:
                    return batch.events
                batch.forget(batch.loaded().keys() - stale)
                batch.decide()
            some = ", ".join(sorted(map(str, stale))[:3])
            raise IntegrityError(f"the log does not continue {len(stale)} aggregate(s) as they are loaded: {some}")

        def redecide(conflicts: set[UUID]) -> list[StoredEvent]:
            # Current are those that the append has just compared. All others are loaded again, inside the lock.
            batch.forget(batch.written().keys() - conflicts)
            batch.decide(in_lock=True)
            return batch.events

        try:
            recorded = self._log.append(decide, redecide)
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

    def _stale(self, batch: Batch) -> set[UUID]:
        """The aggregates by which commands were rejected or found to be repeats, and that are not as in the log."""
        consulted = batch.consulted()
        if not consulted:
            return set()
        latest, loaded = self._history.latest(consulted), batch.loaded()
        return {each for each in consulted if not _is_current(loaded[each], latest.get(each, _WITHOUT_EVENT))}


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
