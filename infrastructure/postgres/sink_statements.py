"""Builds the SQL of the Postgres sink from the declaration of a read model's table. Pure."""

from __future__ import annotations

from read_models.rows import RowTable

STATES = "CREATE TEMPORARY TABLE IF NOT EXISTS new_states (shard smallint, key text, state bytea) ON COMMIT DELETE ROWS"
COPY_STATES = "COPY new_states (shard, key, state) FROM STDIN (ENCODING 'UTF8')"
UPSERT_STATES = (
    "INSERT INTO projection_states (projection, generation, shard, key, state)"
    " SELECT %s, %s, shard, key, state FROM new_states"
    " ON CONFLICT (projection, generation, shard, key) DO UPDATE SET state = excluded.state"
)

_SHARD = "projection = %s AND generation = %s AND shard = ANY(%s)"
# In one order, so that two workers with several shards in common cannot deadlock.
LOCK_SHARDS = f"SELECT shard FROM projection_shards WHERE {_SHARD} ORDER BY shard FOR UPDATE"
# The newest row of each shard, by number from the end, so that dead rows before it are not read.
READ_FENCES = (
    "SELECT s.shard, f.log_id, f.incarnation, f.seq, f.position, f.event, f.number FROM projection_shards s"
    " LEFT JOIN LATERAL (SELECT * FROM projection_fences f WHERE f.projection = s.projection"
    "  AND f.generation = s.generation AND f.shard = s.shard ORDER BY f.number DESC LIMIT 1) f ON true"
    " WHERE s.projection = %s AND s.generation = %s AND s.shard = ANY(%s)"
)
INSERT_SHARDS = (
    "INSERT INTO projection_shards (projection, generation, shard)"
    " SELECT %s, %s, s FROM unnest(%s::smallint[]) AS s ORDER BY s ON CONFLICT DO NOTHING"
)
INSERT_FENCES = (
    "INSERT INTO projection_fences"
    " (projection, generation, shard, number, log_id, incarnation, seq, position, event) SELECT %s, %s, v.*"
    " FROM unnest(%s::smallint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[])"
    "  AS v(shard, number, log_id, incarnation, seq, position, event)"
)
KEPT_FENCES = 32
"""Rows of a shard between two prunings. A pruning deletes as many rows of each shard that is due."""
# One shard, so that every column restricts the index. With a list of shards the server reads the whole generation.
PRUNE_FENCES = (
    "DELETE FROM projection_fences"
    " WHERE projection = %s AND generation = %s AND shard = %s AND number > %s AND number <= %s"
)

OF_SHARDS = ("projection_fences", "projection_states", "projection_parked")
"""The tables with data of shards, fences first: their lock protects the rest."""
MOVE_SHARD = "UPDATE {table} SET generation = %s WHERE projection = %s AND generation = %s AND shard = %s"

PARK = (
    "INSERT INTO projection_parked (projection, generation, shard, key, parked) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT (projection, generation, shard, key) DO UPDATE SET parked = excluded.parked"
)
COUNT_PARKED = "SELECT count(*) FROM projection_parked WHERE projection = %s AND generation = %s"
PAGE_PARKED = (
    "SELECT key, parked FROM projection_parked WHERE projection = %s AND generation = %s AND shard >= %s"
    ' AND (shard, key COLLATE "C") > (%s, %s) ORDER BY shard, key COLLATE "C" LIMIT %s'
)
"""By code points, as Redis's sink sorts."""
UNPARK = "DELETE FROM projection_parked WHERE projection = %s AND generation = %s AND shard = %s AND key = %s"


class RowStatements:
    """The statements for the rows of one table."""

    def __init__(self, rows: RowTable) -> None:
        name = _quoted(rows.table.name)
        temporary = _quoted(f"new_{rows.table.name}")
        columns = ("shard", *rows.key, *rows.add, *rows.latest)
        listed = ", ".join(map(_quoted, columns))
        unique = ", ".join(_quoted(column.name) for column in rows.table.primary_key.columns)
        merges = [f"{_quoted(c)} = t.{_quoted(c)} + excluded.{_quoted(c)}" for c in rows.add]
        shown = "coalesce(excluded.{0}, t.{0})" if rows.add else "excluded.{0}"
        merges += [f"{_quoted(c)} = {shown.format(_quoted(c))}" for c in rows.latest]
        self.columns = columns
        self.latest = len(rows.latest)
        self.values = len(rows.add) + len(rows.latest)
        self.create = (
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {temporary} ON COMMIT DELETE ROWS AS"
            f" SELECT {listed} FROM {name} WITH NO DATA"
        )
        self.copy = f"COPY {temporary} ({listed}) FROM STDIN (ENCODING 'UTF8')"
        self.upsert = (
            f"INSERT INTO {name} AS t (generation, {listed}) SELECT %s, {listed} FROM {temporary}"
            f" ON CONFLICT ({unique}) DO UPDATE SET {', '.join(merges)}"
        )
        self.of_shard = (
            f"SELECT {', '.join(map(_quoted, columns[1:]))} FROM {name} WHERE generation = %s AND shard = %s"
        )
        self.delete_shards = f"DELETE FROM {name} WHERE generation = %s AND shard = ANY(%s)"
        self.move_shard = f"UPDATE {name} SET generation = %s WHERE generation = %s AND shard = %s"
        self.delete_all = f"DELETE FROM {name} WHERE generation = %s"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
