"""What a replay needs of the event store, beyond following it: any part of it, by key or by shard, as of an instant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from projections.core.ports import LoggedEvent, LogHead
from projections.replay.as_of import AsOf, Horizon


class TimedEvent(NamedTuple):
    """An event with its time as sent and the time of its recording, in epoch milliseconds."""

    event: LoggedEvent
    event_ms: int
    recorded_ms: int


class Archive(Protocol):
    """Committed events only, in order, without holes. Raises PortUnavailable.

    Event times are as sent, which is what the store has an index on; ``HappenedEvents`` reads by the effective ones.
    """

    def head(self, stream: str) -> LogHead: ...

    def horizon(self, as_of: AsOf) -> Horizon:
        """Resolve ``as_of``, the same whenever it is asked again. Raises Unresolvable."""
        ...

    def discarded(self, projection: str) -> frozenset[int]: ...

    def last_version(self, stream: str, key: str, position: int) -> int:
        """The version of the key's last event at ``position`` or before; 0 if there is none."""
        ...

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        """Events with ``after_version`` < version <= ``upto_version``, by version; sent as of then or before."""
        ...

    def shard_range(
        self, stream: str, shard: int, after_seq: int, upto_seq: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        """The same by seq, of one shard."""
        ...

    def walk(
        self, stream: str, keys: Sequence[str] | None, shard: int, position: int, *, by_event_time: bool
    ) -> Iterator[TimedEvent]:
        """Events of one shard up to ``position``, key by key (in code point order); of ``keys`` only, if given.

        Within a key by version or, ``by_event_time``, by (time as sent, version). Streams in bounded memory.
        """
        ...
