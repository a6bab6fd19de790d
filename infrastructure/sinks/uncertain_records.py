"""Records for which keys a topic may show another value than the one on record: a step may fail after it sends.

Each key is on record as uncertain, with an empty digest, before its record is sent: ``announce``. So whatever
generation continues after a crash publishes the key again, or withdraws it.

That is not enough for a worker that freezes while it sends. Another worker publishes its keys meanwhile and records
them as certain, and the older records come after that. So the process of a failed step records its keys as uncertain
once more, and the shard is compared with the rows again, whichever generation is active: ``failed``. What Postgres does
not accept at once is kept beyond the end of the sink, and recorded before the next one publishes: ``settle``.

One case is left: the frozen process continues, sends, and is killed before it could record that. Then the older record
stays until the key changes or the topic is deleted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, text

from infrastructure.postgres.errors import sink_errors
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint, decode_checkpoint, encode_checkpoint
from projections.core.ports import Fence, PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.publication")

_DISTRUST = text(
    "INSERT INTO published_rows (projection, key, shard, position, digest)"
    " SELECT :projection, u.key, :shard, u.position, CAST('' AS bytea)"
    "  FROM unnest(CAST(:keys AS text[]), CAST(:positions AS bigint[])) AS u(key, position)"
    " ON CONFLICT (projection, key) DO UPDATE SET digest = '' WHERE published_rows.digest <> ''"
)
_SHARDS_OF = text("SELECT DISTINCT shard FROM published_rows WHERE projection = :projection AND key = ANY(:keys)")
_LOCK = text(
    "SELECT shard, checkpoint FROM published_shards WHERE projection = :projection AND shard = ANY(:shards)"
    " ORDER BY shard FOR UPDATE"
)
_MOVE = text("UPDATE published_shards SET checkpoint = :checkpoint WHERE projection = :projection AND shard = :shard")


def uncompared(topic: str) -> PublishedCheckpoint:
    """The checkpoint of a shard of which nothing is known but which topic its records are on."""
    return PublishedCheckpoint(0, Fence("-", "-", 0, 0), topic)


class UncertainRecords:
    """Keys whose last record on the topic is unknown. A worker has one, which outlives each of its sinks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._left: dict[tuple[str, int], dict[str, int]] = {}
        """Keys of failed steps that Postgres has not accepted yet, with positions, by projection and shard."""

    def announce(self, projection: str, shard: int, sending: Mapping[str, int]) -> None:
        """Record in a transaction of its own that records of these keys are about to be sent. Raises PortUnavailable.

        ``sending``: the position of each key's row. The caller may hold the lock of the shard, but not of the rows.
        """
        with sink_errors(), self._engine.begin() as connection:
            self._distrust(connection, projection, shard, sending)

    def failed(self, projection: str, shard: int, sent: Mapping[str, int]) -> None:
        """Record that records of these keys may be on the topic, now or later. Keeps what Postgres does not accept."""
        with self._lock:
            self._left.setdefault((projection, shard), {}).update(sent)
        try:
            self.settle(projection)
        except (PortUnavailable, SinkRejected) as error:
            log.warning("%d records may be on the topic, which is recorded later: %s", len(sent), error)

    def settle(self, projection: str) -> None:
        """Record what is left of failed steps, and have their shards compared again. Raises PortUnavailable."""
        with self._lock:
            left = {place: dict(sent) for place, sent in self._left.items() if place[0] == projection}
        for (_, shard), sent in left.items():
            with sink_errors(), self._engine.begin() as connection:
                self._distrust_shards(connection, projection, shard, sent)
            with self._lock:
                if self._left.get((projection, shard)) == sent:
                    del self._left[projection, shard]

    def _distrust_shards(self, connection: Connection, projection: str, shard: int, sent: Mapping[str, int]) -> None:
        # Another generation may have a key in another shard. Shards are locked before rows, as in every step.
        of_keys = connection.execute(_SHARDS_OF, {"projection": projection, "keys": list(sent)}).scalars()
        shards = sorted({shard, *of_keys})
        locked = connection.execute(_LOCK, {"projection": projection, "shards": shards}).all()
        self._distrust(connection, projection, shard, sent)
        for row in locked:
            checkpoint = decode_checkpoint(row.checkpoint.encode())
            if checkpoint is not None:
                # With the topic: without it, all rows would be deleted, and no key could be withdrawn.
                moved = encode_checkpoint(uncompared(checkpoint.topic))
                connection.execute(_MOVE, {"projection": projection, "shard": row.shard, "checkpoint": moved})

    def _distrust(self, connection: Connection, projection: str, shard: int, keys: Mapping[str, int]) -> None:
        columns = {"keys": list(keys), "positions": list(keys.values())}
        connection.execute(_DISTRUST, {"projection": projection, "shard": shard, **columns})
