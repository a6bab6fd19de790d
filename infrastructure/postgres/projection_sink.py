"""The generic Postgres sink: states, rows, parked events and fence of a batch in one transaction (invariant 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg2
from sqlalchemy import Engine

from domain.identifiers import SHARDS, shard_of
from infrastructure.postgres import sink_statements as sql
from infrastructure.postgres.broken_connections import discarding_unusable
from infrastructure.postgres.copy_text import copy_text
from infrastructure.postgres.engine import is_lock_timeout, terminate_overdue_backends
from infrastructure.postgres.errors import rejected_or_unavailable, sink_errors
from projections.core.parked_keys import encode_parked_event
from projections.core.ports import ApplyOutcome, Fence, ParkedEvent, ShardDump, ShardWrite
from projections.core.projection import Projection


class PostgresSink:
    """``projections.core.ports.Sink`` on Postgres, for one generation of a projection with or without tables.

    The staging area of generation N is generation −N, which no query of a read model selects.
    """

    def __init__(self, engine: Engine, projection: Projection[Any], generation: int) -> None:
        self._engine = engine
        self._projection = projection
        self._of = (projection.name, generation)
        self._generation = generation
        self._tables = {rows.table.name: sql.RowStatements(rows) for rows in projection.tables}

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        with self._transaction() as cursor:
            found = self._read_fences(cursor, shards)
        return [found.get(shard) for shard in shards]

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        asked = [(shard, key) for shard, names in keys.items() for key in names]
        found: dict[int, dict[str, bytes]] = {shard: {} for shard, names in keys.items() if names}
        if not asked:
            return {}
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT s.shard, s.key, s.state FROM unnest(%s::smallint[], %s::text[]) AS u(shard, key)"
                " JOIN projection_states s ON s.projection = %s AND s.generation = %s"
                "  AND s.shard = u.shard AND s.key = u.key",
                ([shard for shard, _ in asked], [key for _, key in asked], *self._of),
            )
            for shard, key, state in cursor:
                found[shard][key] = bytes(state)
        return found

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        with self._transaction() as cursor:
            return self._read_parked(cursor, shards)

    def count_parked(self) -> int:
        with self._transaction() as cursor:
            cursor.execute(sql.COUNT_PARKED, self._of)
            return int(cursor.fetchone()[0])

    def page_parked(self, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        # No key is empty, so that every key of shard 0 is after this place.
        place = (0, "") if after is None else (shard_of(after), after)
        with self._transaction() as cursor:
            cursor.execute(sql.PAGE_PARKED, (*self._of, place[0], *place, limit))
            return [(key, ParkedEvent(**event)) for key, event in cursor]

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        if not writes:
            return []
        with self._transaction() as cursor:
            won = self._move_fences(cursor, writes)
            kept = [write for write in writes if write.shard in won]
            # Without a fence the content of the rows is unknown, so nothing is folded onto it.
            self._clear(cursor, [write.shard for write in kept if write.expected is None])
            self._put_states(cursor, kept)
            self._put_rows(cursor, kept)
            self._put_parked(cursor, kept)
        return [ApplyOutcome.APPLIED if write.shard in won else ApplyOutcome.FENCE_CONFLICT for write in writes]

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        with self._transaction() as cursor:
            if not self._move_fences(cursor, [ShardWrite(shard, expected, new, {})]):
                return False
            self._clear(cursor, [shard])
        return True

    def staging(self) -> PostgresSink:
        return PostgresSink(self._engine, self._projection, -self._generation)

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        staging = self.staging()
        with self._transaction() as cursor:
            # Invariant of all writers: the served fence is locked first, so that two workers cannot deadlock.
            for area, wanted in ((self, expected), (staging, refolded)):
                held, _ = area._lock_fences(cursor, [shard])
                if held != {shard: wanted}:
                    return False
            self._clear(cursor, [shard], sql.OF_SHARDS)
            for table in sql.OF_SHARDS:
                cursor.execute(sql.MOVE_SHARD.format(table=table), (self._generation, *staging._of, shard))
            for rows in self._tables.values():
                cursor.execute(rows.move_shard, (self._generation, staging._generation, shard))
        return True

    def abandon(self, shards: Sequence[int]) -> None:
        staging = self.staging()
        with self._transaction() as cursor:
            cursor.execute(sql.LOCK_SHARDS, (*staging._of, list(shards)))
            staging._clear(cursor, shards, sql.OF_SHARDS)

    def _clear(self, cursor: Any, shards: Sequence[int], tables: Sequence[str] = sql.OF_SHARDS[1:]) -> None:
        """Deletes the data of ``shards``. The fences stay, unless ``tables`` includes their table."""
        if not shards:
            return
        for table in tables:
            cursor.execute(
                f"DELETE FROM {table} WHERE projection = %s AND generation = %s AND shard = ANY(%s)",  # noqa: S608
                (*self._of, list(shards)),
            )
        for rows in self._tables.values():
            cursor.execute(rows.delete_shards, (self._generation, list(shards)))

    def dump(self, shard: int) -> ShardDump:
        with self._transaction() as cursor:
            # Before any query, so that all of them read one snapshot.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            fence = self._read_fences(cursor, [shard]).get(shard)
            parked = self._read_parked(cursor, [shard]).get(shard, {})
            cursor.execute(
                "SELECT key, state FROM projection_states WHERE projection = %s AND generation = %s AND shard = %s",
                (*self._of, shard),
            )
            states = {key: bytes(state) for key, state in cursor}
            rows: dict[str, bytes] = {}
            for name, table in self._tables.items():
                cursor.execute(table.of_shard, (self._generation, shard))
                for row in cursor:
                    keys = len(row) - table.values
                    rows[" ".join([name, *map(_word, row[:keys])])] = " ".join(map(_word, row[keys:])).encode()
        return ShardDump(fence, states, rows, parked)

    def drop(self) -> None:
        with self._transaction() as cursor:
            # Fences are locked before the data, as every writer does. Otherwise the two deadlock, and the rows of a
            # running writer remain.
            for area in (self, self.staging()):
                cursor.execute(sql.LOCK_SHARDS, (*area._of, list(range(SHARDS))))
                for table in (*sql.OF_SHARDS, "projection_shards"):
                    cursor.execute(f"DELETE FROM {table} WHERE projection = %s AND generation = %s", area._of)  # noqa: S608
                for rows in area._tables.values():
                    cursor.execute(rows.delete_all, (area._generation,))

    def _read_fences(self, cursor: Any, shards: Sequence[int]) -> dict[int, Fence]:
        cursor.execute(sql.READ_FENCES, (*self._of, list(shards)))
        return {shard: Fence(*fence) for shard, *fence, number in cursor if number is not None}

    def _read_parked(self, cursor: Any, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        cursor.execute(
            "SELECT shard, key, parked FROM projection_parked"
            " WHERE projection = %s AND generation = %s AND shard = ANY(%s)",
            (*self._of, list(shards)),
        )
        found: dict[int, dict[str, ParkedEvent]] = {}
        for shard, key, event in cursor:
            found.setdefault(shard, {})[key] = ParkedEvent(**event)
        return found

    def _move_fences(self, cursor: Any, writes: Sequence[ShardWrite]) -> set[int]:
        """Locks the shards and moves the fences that are as expected. Returns the shards that were moved."""
        held, numbers = self._lock_fences(cursor, [write.shard for write in writes])
        won = [write for write in writes if held.get(write.shard) == write.expected]
        if won:
            following = [numbers.get(write.shard, 0) + 1 for write in won]
            cursor.execute(sql.INSERT_FENCES, (*self._of, *_columns(won, following)))
            for write, number in zip(won, following, strict=True):
                # The shard is part of the test so that not all shards are pruned in the same transaction.
                if (number + write.shard) % sql.KEPT_FENCES == 0:
                    upto = number - sql.KEPT_FENCES
                    cursor.execute(sql.PRUNE_FENCES, (*self._of, write.shard, upto - sql.KEPT_FENCES, upto))
        return {write.shard for write in won}

    def _lock_fences(self, cursor: Any, shards: Sequence[int]) -> tuple[dict[int, Fence], dict[int, int]]:
        """Locks ``shards``. Returns their fences, and the row number of each fence."""
        place = (*self._of, list(shards))
        # A separate statement reads the fences: its snapshot is taken after the locks.
        cursor.execute(f"{sql.LOCK_SHARDS}; {sql.READ_FENCES}", place + place)
        found = cursor.fetchall()
        if len(found) < len(set(shards)):
            # The first write of a shard. If another worker inserts the row at the same time, this one waits for it.
            cursor.execute(sql.INSERT_SHARDS, place)
            cursor.execute(f"{sql.LOCK_SHARDS}; {sql.READ_FENCES}", place + place)
            found = cursor.fetchall()
        held = {shard: Fence(*fence) for shard, *fence, number in found if number is not None}
        return held, {row[0]: row[-1] for row in found if row[-1] is not None}

    def _put_states(self, cursor: Any, writes: Sequence[ShardWrite]) -> None:
        rows = [(write.shard, key, state) for write in writes for key, state in write.states.items()]
        if rows:
            cursor.execute(sql.STATES)
            cursor.copy_expert(sql.COPY_STATES, copy_text(rows))
            cursor.execute(sql.UPSERT_STATES, self._of)

    def _put_rows(self, cursor: Any, writes: Sequence[ShardWrite]) -> None:
        by_table: dict[str, list[Sequence[Any]]] = {}
        for write in writes:
            for table, key, add, latest in write.rows:
                shown = latest if latest is not None else (None,) * self._tables[table].latest
                by_table.setdefault(table, []).append((write.shard, *key, *add, *shown))
        for table, rows in by_table.items():
            statements = self._tables[table]
            cursor.execute(statements.create)
            cursor.copy_expert(statements.copy, copy_text(rows))
            cursor.execute(statements.upsert, (self._generation,))

    def _put_parked(self, cursor: Any, writes: Sequence[ShardWrite]) -> None:
        for write in writes:
            for key, event in write.parked.items():
                place = (*self._of, write.shard, key)
                if event is None:
                    cursor.execute(sql.UNPARK, place)
                else:
                    cursor.execute(sql.PARK, (*place, encode_parked_event(event)))

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Yields a cursor of the driver in a transaction. COPY needs the driver's cursor."""
        with sink_errors(), self._engine.begin() as connection:
            cursor = connection.connection.cursor()
            try:
                # The test before each use accepts a read-only session, so the pool would keep it for ever.
                with discarding_unusable(connection):
                    yield cursor
            except psycopg2.Error as error:
                if is_lock_timeout(error):
                    terminate_overdue_backends(self._engine)
                raise rejected_or_unavailable(error, error) from error
            finally:
                cursor.close()


def _columns(writes: Sequence[ShardWrite], numbers: Sequence[int]) -> tuple[Sequence[Any], ...]:
    new = [write.new for write in writes]
    return (
        [write.shard for write in writes],
        numbers,
        [fence.log_id for fence in new],
        [fence.incarnation for fence in new],
        [fence.seq for fence in new],
        [fence.position for fence in new],
        [fence.event for fence in new],
    )


def _word(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, memoryview):
        return value.hex()
    # Every type that copy_text accepts must be supported here, or such a generation could never be compared.
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
