"""Stores which rows of a projection a compacted topic shows, next to the rows; it reveals rows that are not published.

One transaction a step: it locks the shard, records the rows, has them published, and commits. So two workers of a shard
publish one after the other, and a crash before the commit leads to the same records again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, text

from infrastructure.postgres.errors import sink_errors
from infrastructure.sinks.compacted_topic import full_publish_reason
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint, decode_checkpoint, encode_checkpoint
from projections.core.ports import Fence
from read_models.rows import RowTable

PAGE_ROWS = 1_000
"""Rows of one step: bounds its transaction, and what a crash publishes twice."""

Publish = Callable[[Sequence[tuple[str, bytes]]], object]
"""Publishes (key, value) and returns once all are acknowledged; an empty value deletes the key."""

_LOCK = text("SELECT checkpoint FROM published_shards WHERE projection = :projection AND shard = :shard FOR UPDATE")
_FIRST = text(
    "INSERT INTO published_shards (projection, shard, checkpoint) VALUES (:projection, :shard, '')"
    " ON CONFLICT DO NOTHING"
)
_MOVE = text("UPDATE published_shards SET checkpoint = :checkpoint WHERE projection = :projection AND shard = :shard")
_READ = text("SELECT shard, checkpoint FROM published_shards WHERE projection = :projection AND shard = ANY(:shards)")
_FORGET = text("UPDATE published_shards SET checkpoint = '' WHERE projection = :projection AND shard = ANY(:shards)")
_FORGET_ROWS = text("DELETE FROM published_rows WHERE projection = :projection AND shard = :shard")
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
    """``published``: records of the step. ``after``: where the next step starts; None after the last one.

    ``is_shown``: the topic shows the shard. False also if another generation is active by now. ``checkpoint``: as it is
    after the step.
    """

    published: int
    after: int | None
    is_shown: bool
    checkpoint: PublishedCheckpoint | None


class PublishedRows:
    """What the topic of one projection shows, for one generation of it. Every method raises PortUnavailable."""

    def __init__(
        self,
        engine: Engine,
        projection: str,
        generation: int,
        rows: RowTable,
        encode: Callable[[Mapping[str, Any]], bytes],
        page_rows: int = PAGE_ROWS,
    ) -> None:
        """``encode``: the columns of a row to the value of its record."""
        self._engine = engine
        self._of = {"projection": projection, "generation": generation}
        self._encode = encode
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
        self._withdraw = text(
            f"DELETE FROM published_rows p WHERE {lacking}"  # noqa: S608
            " AND (:is_complete OR position <= :position) RETURNING key"
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

    def forget(self, shards: Sequence[int]) -> None:
        """Delete the checkpoints and what is recorded of their rows: these shards are published again completely."""
        with sink_errors(), self._engine.begin() as connection:
            connection.execute(_FORGET, {**self._of, "shards": list(shards)})

    def step(
        self, shard: int, now: PublishedCheckpoint, after: int | None, publish: Publish, *, is_complete: bool = False
    ) -> PageOutcome:
        """Publish one page of the shard's rows whose values the topic does not show; at the end move the checkpoint.

        ``after``: where the previous step ended; None: begin where the checkpoint says. ``is_complete``: the generation
        has folded the whole log. Publishes nothing if another generation is active by now.
        """
        with sink_errors(), self._engine.begin() as connection:
            place = {**self._of, "shard": shard}
            checkpoint = self._locked(connection, place)
            if connection.execute(_ACTIVE, self._of).one_or_none() is None:
                return PageOutcome(0, None, False, checkpoint)
            is_full = full_publish_reason(checkpoint, now) is not None
            if checkpoint is None or checkpoint.topic != now.topic:
                # A topic that is not known shows nothing. Note which one is filled: a crash then keeps what it got.
                connection.execute(_FORGET_ROWS, place)
                checkpoint = PublishedCheckpoint(0, Fence("-", "-", 0, 0), now.topic)
                self._move(connection, shard, checkpoint)
                after = None
            start = after if after is not None else 0 if is_full else checkpoint.fence.position
            parameters = {**place, "after": start, "limit": self._page_rows}
            page = connection.execute(self._page, parameters).all()
            records = self._record(connection, shard, page)
            if page:
                publish(records)
                last = max(row.position for row in page)
                if not is_full:
                    checkpoint = checkpoint._replace(fence=checkpoint.fence._replace(position=last))
                    self._move(connection, shard, checkpoint)
                return PageOutcome(len(records), last, False, checkpoint)
            withdrawn = self._withdrawn(connection, shard, now, is_complete=is_complete) if is_full else []
            publish([(key, b"") for key in withdrawn])
            if is_full and connection.execute(self._lacking, place).one_or_none() is not None:
                return PageOutcome(len(withdrawn), None, False, checkpoint)
            self._move(connection, shard, now)
            return PageOutcome(len(withdrawn), None, True, now)

    def _locked(self, connection: Connection, place: Mapping[str, Any]) -> PublishedCheckpoint | None:
        """The checkpoint of a shard, locked until the end of the transaction."""
        found = connection.execute(_LOCK, place).scalar_one_or_none()
        if found is None:
            # A separate statement locks the row: another worker may have inserted it meanwhile.
            connection.execute(_FIRST, place)
            found = connection.execute(_LOCK, place).scalar_one()
        return decode_checkpoint(found.encode())

    def _record(self, connection: Connection, shard: int, page: Sequence[Row[Any]]) -> list[tuple[str, bytes]]:
        """Record the rows that differ from what is published. Returns their records."""
        changed = []
        for row in page:
            columns = row._asdict()
            value = self._encode(columns)
            digest = sha256(value).digest()[:16]
            if row.published_digest is None or bytes(row.published_digest) != digest:
                changed.append((str(columns[self._key]), value, row.position, digest))
        if changed:
            keys, _, positions, digests = zip(*changed, strict=True)
            columns = {"keys": list(keys), "positions": list(positions), "digests": list(digests)}
            connection.execute(_RECORD, {**self._of, "shard": shard, **columns})
        return [(key, value) for key, value, *_ in changed]

    def _withdrawn(
        self, connection: Connection, shard: int, now: PublishedCheckpoint, *, is_complete: bool
    ) -> list[str]:
        parameters = {**self._of, "shard": shard, "position": now.fence.position, "is_complete": is_complete}
        return sorted(connection.execute(self._withdraw, parameters).scalars())

    def _move(self, connection: Connection, shard: int, checkpoint: PublishedCheckpoint) -> None:
        connection.execute(_MOVE, {**self._of, "shard": shard, "checkpoint": encode_checkpoint(checkpoint)})
