"""The log as a rebuild reads it: its beginning from the files of an export, the rest from the event store."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from infrastructure.replay.log_export import ExportedFile, exported_events, open_export
from projections.core.ports import EventLog, LoggedEvent, LogHead

_position = attrgetter("position")


class ExportedLog:
    """An ``EventLog`` that reads ranges of positions from the files, and everything else from ``log``.

    The rows of the last file are kept in memory: a rebuild reads a file in several steps.
    """

    def __init__(self, log: EventLog, folder: Path) -> None:
        """Raises UserError if the export is not a whole beginning of ``log``; PortUnavailable."""
        self._log = log
        self._folder = folder
        self._export = open_export(folder, log)
        self._held: tuple[tuple[str, str, tuple[int, ...]], list[LoggedEvent]] | None = None

    @property
    def last_position(self) -> int:
        """The last position that the files have."""
        return self._export.last_position

    def head(self, stream: str) -> LogHead:
        return self._log.head(stream)

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        return self._log.read_shard(stream, shard, after_seq, limit)

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        """Raises UserError if a file was changed; PortUnavailable."""
        found: list[LoggedEvent] = []
        for file in self._export.files:
            if file.last > after and file.first <= upto:
                events = self._events(file, stream, tuple(shards))
                first, last = (bisect_right(events, position, key=_position) for position in (after, upto))
                found += events[first:last]
        if upto > self.last_position:
            found += self._log.read_positions(stream, shards, max(after, self.last_position), upto)
        return found

    def read_key(
        self, stream: str, key: str, from_version: int, upto_seq: int, limit: int | None = None
    ) -> list[LoggedEvent]:
        return self._log.read_key(stream, key, from_version, upto_seq, limit)

    def discarded(self, projection: str) -> frozenset[int]:
        return self._log.discarded(projection)

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        return self._log.events_at(positions)

    def _events(self, file: ExportedFile, stream: str, shards: tuple[int, ...]) -> list[LoggedEvent]:
        wanted = (file.name, stream, shards)
        if self._held is None or self._held[0] != wanted:
            self._held = (wanted, exported_events(self._folder, file, stream, shards))
        return self._held[1]


def rebuild_log(log: EventLog, export: Path | None) -> EventLog:
    """What a rebuild reads: ``log``, or the files of ``export`` before it. Raises as ``ExportedLog``."""
    return log if export is None else ExportedLog(log, export)
