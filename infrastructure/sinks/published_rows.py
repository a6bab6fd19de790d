"""Stores which rows of a projection a compacted topic shows, next to the rows; it reveals rows that are not published.

One transaction a step: it locks the shard, has a page of rows published, records them, and commits. So two workers of a
shard publish one after the other. ``infrastructure.sinks.uncertain_records`` covers a step that fails after it sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, text

from infrastructure.postgres.errors import sink_errors
from infrastructure.sinks.compacted_topic import full_publish_reason
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint, decode_checkpoint, encode_checkpoint
from infrastructure.sinks.uncertain_records import UncertainRecords, uncompared
from read_models.rows import RowTable

PAGE_ROWS = 1_000
"""Rows of one step, shown or withdrawn: bounds its transaction, and what a crash publishes twice. They are one batch of
the publisher: two would wait longer than the server lets a transaction be idle."""

Publish = Callable[[Sequence[tuple[str, bytes]]], object]
"""Publishes (key, value) and returns once all are acknowledged; an empty value deletes the key."""
_Send = Callable[[Mapping[str, tuple[int, bytes]], Connection], object]
"""Publishes positions and values by key within a step; the connection is that of its transaction."""

_LOCK = text("SELECT checkpoint FROM published_shards WHERE projection = :projection AND shard = :shard FOR UPDATE")
_FIRST = text(
    "INSERT INTO published_shards (projection, shard, checkpoint) VALUES (:projection, :shard, '')"
    " ON CONFLICT DO NOTHING"
)
_MOVE = text("UPDATE published_shards SET checkpoint = :checkpoint WHERE projection = :projection AND shard = :shard")
_READ = text("SELECT shard, checkpoint FROM published_shards WHERE projection = :projection AND shard = ANY(:shards)")
_FORGET_ROWS = text("DELETE FROM published_rows WHERE projection = :projection AND shard = :shard")
_DISTRUST_ROWS = text("UPDATE published_rows SET digest = '' WHERE projection = :projection AND shard = :shard")
_WITHDRAW = text("DELETE FROM published_rows WHERE projection = :projection AND key = ANY(:keys)")
_ACTIVE = text(
    "SELECT 1 FROM projection_generations WHERE projection = :projection AND generation = :generation AND active"
)
_RECORD = text(
    "INSERT INTO published_rows (projection, key, shard, position, digest)"
    " SELECT :projection, u.key, :shard, u.position, u.digest"
    "  FROM unnest(CAST(:keys AS text[]), CAST(:positions AS bigint[]), CAST(:digests AS bytea[]))"
    "   AS u(key, position, digest)"
    " ON CONFLICT (projection, key) DO UPDATE"
    "  SET shard = excluded.shard, position = excluded.position, digest = excluded.digest"
)


class PageOutcome(NamedTuple):
    """``published``: records of the step. ``is_last``: no step is left to do now.

    ``is_shown``: the topic shows the shard. False also if another generation is active by now.
    """

    published: int
    is_last: bool
    is_shown: bool


def comparison_reason(checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> str | None:
    """Why all rows of the shard must be compared with what is published; None if only rows after the checkpoint."""
    if checkpoint is not None and checkpoint.topic == now.topic and checkpoint.generation <= 0:
        return "the comparison has not ended, or a step of it failed"
    return full_publish_reason(checkpoint, now)


def _compared(now: PublishedCheckpoint, position: int) -> PublishedCheckpoint:
    """The checkpoint of a comparison that has come to ``position``: with the generation's number, negative."""
    return PublishedCheckpoint(-now.generation, now.fence._replace(position=position, event=""), now.topic)


def _continued_after(checkpoint: PublishedCheckpoint, now: PublishedCheckpoint) -> int:
    """The position at which a comparison with the rows of ``now`` continues; 0 if none of them was begun."""
    begun = checkpoint._replace(generation=-checkpoint.generation)
    return checkpoint.fence.position if full_publish_reason(begun, now) is None else 0


class PublishedRows:
    """What the topic of one projection shows, for one generation of it. Every method raises PortUnavailable."""

    def __init__(
        self,
        engine: Engine,
        projection: str,
        generation: int,
        rows: RowTable,
        encode: Callable[[Mapping[str, Any]], bytes],
        uncertain: UncertainRecords,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        """``encode``: the columns of a row to the value of its record."""
        self._engine = engine
        self._of = {"projection": projection, "generation": generation}
        self._projection = projection
        self._encode = encode
        self._uncertain = uncertain
        self._page_rows = page_rows
        (key,) = rows.key
        self._key = key
        table = rows.table.name
        columns = ", ".join(f"e.{column.name}" for column in rows.table.columns)
        place = f"FROM {table} WHERE generation = :generation AND shard = :shard AND position > :after"
        # All rows of a position or none: the checkpoint is a position.
        self._page = text(
            f"SELECT {columns}, p.digest AS published_digest FROM {table} e"  # noqa: S608 - names of the declaration
            f" LEFT JOIN published_rows p ON p.projection = :projection AND p.key = e.{key}"
            " WHERE e.generation = :generation AND e.shard = :shard AND e.position > :after AND e.position <="
            f"  (SELECT max(position) FROM (SELECT position {place} ORDER BY position LIMIT :limit) first)"
            f" ORDER BY e.{key}"
        )
        self._has_more = text(
            "SELECT u.shard FROM unnest(CAST(:shards AS smallint[]), CAST(:positions AS bigint[]))"  # noqa: S608
            f" AS u(shard, after) WHERE EXISTS (SELECT FROM {table} e"
            "  WHERE e.generation = :generation AND e.shard = u.shard AND e.position > u.after)"
        )
        # Rows of other generations, or of a log that was restored. A row beyond the fence may still be folded.
        lacking = (
            "projection = :projection AND shard = :shard"
            f" AND NOT EXISTS (SELECT FROM {table} e WHERE e.generation = :generation AND e.{key} = p.key)"
        )
        self._withdrawable = text(
            f"SELECT key, position FROM published_rows p WHERE {lacking}"  # noqa: S608
            " AND (:is_complete OR position <= :position) ORDER BY key LIMIT :limit"
        )
        self._lacking = text(f"SELECT 1 FROM published_rows p WHERE {lacking} LIMIT 1")  # noqa: S608

    def checkpoints(self, shards: Sequence[int]) -> dict[int, PublishedCheckpoint]:
        """Checkpoints by shard; a shard whose rows were never published completely is absent."""
        with sink_errors(), self._engine.connect() as connection:
            found = connection.execute(_READ, {**self._of, "shards": list(shards)}).all()
        read = {row.shard: decode_checkpoint(row.checkpoint.encode()) for row in found}
        return {shard: checkpoint for shard, checkpoint in read.items() if checkpoint is not None}

    def with_more(self, after: Mapping[int, int]) -> set[int]:
        """Shards that have rows beyond these positions."""
        if not after:
            return set()
        parameters = {**self._of, "shards": list(after), "positions": list(after.values())}
        with sink_errors(), self._engine.connect() as connection:
            return set(connection.execute(self._has_more, parameters).scalars())

    def settle(self) -> None:
        """Record what failed steps may have sent, whichever generation is active."""
        self._uncertain.settle(self._projection)

    def step(self, shard: int, now: PublishedCheckpoint, publish: Publish, *, is_complete: bool = False) -> PageOutcome:
        """Publish one page of the shard's rows whose values the topic does not show, and move the checkpoint.

        The next step continues at the checkpoint, in whichever worker. ``is_complete``: the generation has folded the
            whole log. Publishes nothing if another generation is active by now.
        """
        sending: dict[str, int] = {}

        def send(records: Mapping[str, tuple[int, bytes]], connection: Connection) -> None:
            positions = {key: position for key, (position, _) in records.items()}
            self._uncertain.announce(self._projection, shard, positions)
            # A worker that was frozen until here has lost its transaction: it must not send.
            connection.execute(_ACTIVE, self._of)
            sending.update(positions)
            publish([(key, value) for key, (_, value) in records.items()])

        try:
            with sink_errors(), self._engine.begin() as connection:
                return self._step(connection, shard, now, send, is_complete=is_complete)
        except Exception:
            if sending:
                self._uncertain.failed(self._projection, shard, sending)
            raise

    def _step(
        self, connection: Connection, shard: int, now: PublishedCheckpoint, send: _Send, *, is_complete: bool
    ) -> PageOutcome:
        place = {**self._of, "shard": shard}
        checkpoint = self._locked(connection, place)
        if connection.execute(_ACTIVE, self._of).one_or_none() is None:
            return PageOutcome(0, is_last=True, is_shown=False)
        if checkpoint is None or checkpoint.topic != now.topic:
            # Another topic has none of the rows. Without a checkpoint, what the topic shows of them is unknown.
            connection.execute(_DISTRUST_ROWS if checkpoint is None else _FORGET_ROWS, place)
            self._move(connection, shard, uncompared(now.topic))
            # Committed before anything is sent: ``announce`` would wait for the locks of these rows.
            return PageOutcome(0, is_last=False, is_shown=False)
        is_full = comparison_reason(checkpoint, now) is not None
        after = _continued_after(checkpoint, now) if is_full else checkpoint.fence.position
        parameters = {**place, "after": after, "limit": self._page_rows}
        if page := connection.execute(self._page, parameters).all():
            published = self._show(connection, shard, page, send)
            last = max(row.position for row in page)
            fence = checkpoint.fence._replace(position=last)
            self._move(connection, shard, _compared(now, last) if is_full else checkpoint._replace(fence=fence))
            return PageOutcome(published, is_last=False, is_shown=False)
        if is_full:
            if withdrawn := self._withdraw(connection, shard, now, send, is_complete=is_complete):
                return PageOutcome(withdrawn, is_last=False, is_shown=False)
            if connection.execute(self._lacking, place).one_or_none() is not None:
                return PageOutcome(0, is_last=True, is_shown=False)
        self._move(connection, shard, now)
        return PageOutcome(0, is_last=True, is_shown=True)

    def _locked(self, connection: Connection, place: Mapping[str, Any]) -> PublishedCheckpoint | None:
        """The checkpoint of a shard, locked until the end of the transaction."""
        found = connection.execute(_LOCK, place).scalar_one_or_none()
        if found is None:
            # A separate statement locks the row: another worker may have inserted it meanwhile.
            connection.execute(_FIRST, place)
            found = connection.execute(_LOCK, place).scalar_one()
        return decode_checkpoint(found.encode())

    def _show(self, connection: Connection, shard: int, page: Sequence[Row[Any]], send: _Send) -> int:
        """Publish and record the rows that differ from what is published. Returns their number."""
        changed: dict[str, tuple[int, bytes]] = {}
        digests = []
        for row in page:
            columns = row._asdict()
            value = self._encode(columns)
            digest = sha256(value).digest()[:16]
            if row.published_digest is None or bytes(row.published_digest) != digest:
                changed[str(columns[self._key])] = (row.position, value)
                digests.append(digest)
        if changed:
            send(changed, connection)
            positions = [position for position, _ in changed.values()]
            columns = {"keys": list(changed), "positions": positions, "digests": digests}
            connection.execute(_RECORD, {**self._of, "shard": shard, **columns})
        return len(changed)

    def _withdraw(
        self, connection: Connection, shard: int, now: PublishedCheckpoint, send: _Send, *, is_complete: bool
    ) -> int:
        """Publish an empty value for one page of keys that the generation does not have. Returns their number."""
        parameters = {**self._of, "shard": shard, "position": now.fence.position, "is_complete": is_complete}
        found = connection.execute(self._withdrawable, {**parameters, "limit": self._page_rows}).all()
        if found:
            send({row.key: (row.position, b"") for row in found}, connection)
            connection.execute(_WITHDRAW, {**self._of, "keys": [row.key for row in found]})
        return len(found)

    def _move(self, connection: Connection, shard: int, checkpoint: PublishedCheckpoint) -> None:
        connection.execute(_MOVE, {**self._of, "shard": shard, "checkpoint": encode_checkpoint(checkpoint)})
