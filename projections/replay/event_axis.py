"""Reads an archive on the axis event: the events that had happened by an instant, by their effective time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.events.contracts import UndecodableError
from domain.features.event_time import MAX_AHEAD_MS, effective_time_ms
from projections.core.fold import Decode
from projections.core.ports import LoggedEvent
from projections.replay.archive import Archive


class HappenedEvents:
    """Reads events by effective time from an archive that searches by the time as sent (invariant 6).

    A ping from a clock that is ahead happened earlier than it was sent to be. The search therefore extends
    ``MAX_AHEAD_MS`` beyond the instant, and the decoded records decide. An event that cannot be decoded has its time as
    sent. Fold the events with this object's ``decode``: it caches the records of the latest range.
    """

    def __init__(self, archive: Archive, decode: Decode) -> None:
        self._archive = archive
        self._decode = decode
        self._records: Mapping[bytes, Mapping[str, Any]] = {}

    def decode(self, payload: bytes) -> Mapping[str, Any]:
        """The record of a payload. Raises what the given ``decode`` raises."""
        record = self._records.get(payload)
        return self._decode(payload) if record is None else record

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, happened_by_ms: int | None
    ) -> list[LoggedEvent]:
        """``Archive.key_range`` by the effective time. Raises PortUnavailable, and what ``decode`` raises."""
        if happened_by_ms is None:
            return self._archive.key_range(stream, key, after_version, upto_version, None)
        sent_by_ms = happened_by_ms + MAX_AHEAD_MS
        found = self._archive.key_range(stream, key, after_version, upto_version, sent_by_ms)
        return self._happened(stream, found, happened_by_ms)

    def shard_range(
        self, stream: str, shard: int, after_seq: int, upto_seq: int, happened_by_ms: int | None
    ) -> list[LoggedEvent]:
        """``Archive.shard_range`` by the effective time. Raises as ``key_range`` does."""
        if happened_by_ms is None:
            return self._archive.shard_range(stream, shard, after_seq, upto_seq, None)
        sent_by_ms = happened_by_ms + MAX_AHEAD_MS
        found = self._archive.shard_range(stream, shard, after_seq, upto_seq, sent_by_ms)
        return self._happened(stream, found, happened_by_ms)

    def _happened(self, stream: str, events: Sequence[LoggedEvent], by_ms: int) -> list[LoggedEvent]:
        records: dict[bytes, Mapping[str, Any]] = {}
        happened: list[LoggedEvent] = []
        for event in events:
            try:
                record = self._decode(event.payload)
                counts = effective_time_ms(record) <= by_ms
                records[event.payload] = record
            except (UndecodableError, KeyError):
                counts = bool(self._archive.key_range(stream, event.key, event.version - 1, event.version, by_ms))
            if counts:
                happened.append(event)
        self._records = records
        return happened
