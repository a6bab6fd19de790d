"""The port of the event store for replays: any part of the log, by key or by shard, as of an instant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from projections.core.ports import LoggedEvent, LogHead
from projections.replay.as_of import AsOf, Horizon


class TimedEvent(NamedTuple):
    """An event with its event time as sent and the time of its recording, in epoch milliseconds."""

    event: LoggedEvent
    event_ms: int
    recorded_ms: int


class Archive(Protocol):
    """Reads committed events only, in order, without gaps. Raises PortUnavailable.

    Event times are as sent, because the store has an index on those. ``HappenedEvents`` reads by effective times.
    """

    def head(self, stream: str) -> LogHead: ...

    def horizon(self, as_of: AsOf) -> Horizon:
        """Resolve ``as_of``; every later call gives the same horizon. Raises Unresolvable."""
        ...

    def discarded(self, projection: str) -> frozenset[int]: ...

    def last_version(self, stream: str, key: str, position: int) -> int:
        """The version of the key's last event at or before ``position``; 0 if there is none."""
        ...

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        """Events with ``after_version`` < version <= ``upto_version``, by version.

        With ``sent_by_ms``, only events whose time as sent is at or before it.
        """
        ...

    def shard_range(
        self, stream: str, shard: int, after_seq: int, upto_seq: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        """Events of one shard with ``after_seq`` < seq <= ``upto_seq``, by seq; limited by ``sent_by_ms`` likewise."""
        ...

    def walk(
        self, stream: str, keys: Sequence[str] | None, shard: int, position: int, *, by_event_time: bool
    ) -> Iterator[TimedEvent]:
        """Events of one shard up to ``position``, key by key in code point order; of ``keys`` only, if given.

        Within a key by version, or with ``by_event_time`` by (time as sent, version). Streams in bounded memory.
        """
        ...
