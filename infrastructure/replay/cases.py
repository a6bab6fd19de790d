"""Makes case files again from the log: the bytes that an alert's table has, at any later time."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import select

from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.postgres.errors import unavailable_as_port_error
from projections.cases import case_source
from projections.core.ports import ParkedEvent
from projections.core.projection import Projection
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from read_models.fraud.queries import CaseSource
from read_models.fraud.tables import CASE_COLUMNS
from read_models.generations import active_generation
from read_models.rows import RowChange

_FILE = CASE_COLUMNS.index("file")


class StoredCase(NamedTuple):
    """Where an alert is in its table: its rider, and the position of the event that changed its file last."""

    rider_id: str
    position: int
    file: bytes


class ReplayedCases(NamedTuple):
    """The case files of one rider as of a position, by alert. ``parked``: the event at which the rider is held back."""

    files: dict[str, bytes]
    events: int
    parked: ParkedEvent | None


class CaseReplay:
    """Case files of one projection. Every method may raise Unresolvable, PortUnavailable, RegistryUnavailable."""

    def __init__(self, backends: Backends, projection: Projection[Any]) -> None:
        """Raises UserError for a projection that raises no alerts."""
        source = case_source(projection)
        if source is None:
            raise UserError(f"{projection.name} raises no alerts, so it has no case files")
        self.source: CaseSource = source
        self._stream = projection.stream
        self._engine = backends.engine
        self._archive = backends.archive
        self._log = backends.log
        self._replay = KeyReplay(backends.replay_source(projection))

    def stored(self, alert_id: str) -> StoredCase | None:
        """The alert in the active generation."""
        c = self.source.table.c
        active = c.generation == active_generation(self.source.projection)
        query = select(c.rider_id, c.position, c.file).where(active, c.alert_id == alert_id)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else StoredCase(found.rider_id, found.position, bytes(found.file))

    def file(self, alert_id: str, rider_id: str | None, when: AsOf | None) -> bytes:
        """The alert's file as of ``when``; None: as of the event that changed the stored file last.

        Without ``rider_id`` the rider is found in the active generation. With both, nothing but the log is read.

        Raises:
            UserError: there is no such alert, by then.
        """
        stored = self.stored(alert_id) if rider_id is None or when is None else None
        if stored is not None:
            rider_id, when = rider_id or stored.rider_id, when or AsOf.at_position(stored.position)
        if rider_id is None:
            raise UserError(
                f"{self.source.projection} has no alert {alert_id}: name its rider with --key, and the log is folded "
                "for it"
            )
        replayed = self.of_rider(rider_id, when or AsOf.at_position(self._log.head(self._stream).position))
        found = replayed.files.get(alert_id)
        if found is None:
            parked = "" if replayed.parked is None else f"; the rider is parked: {replayed.parked.reason}"
            raise UserError(f"the events of {rider_id!r} by then raise no alert {alert_id}{parked}")
        return found

    def of_rider(self, rider_id: str, when: AsOf) -> ReplayedCases:
        """All case files of a rider as of then."""
        found = self._replay.at(rider_id, self._archive.horizon(when))
        if found is None:
            return ReplayedCases({}, 0, None)
        files = {row.key[0]: _file_of(row) for row in found.rows if row.table == self.source.table.name}
        return ReplayedCases(files, found.events, found.parked)


def _file_of(row: RowChange) -> bytes:
    assert row.latest is not None, "every change of a case replaces its whole row"
    file = row.latest[_FILE]
    assert isinstance(file, bytes)
    return file
