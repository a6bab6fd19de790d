"""A row of a projection in each of the tables that every projection in Postgres shares."""

from __future__ import annotations

from sqlalchemy import Engine, text

_ROWS = (
    "INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active)"
    " VALUES (:projection, 1, 1, 'digest', true)",
    "INSERT INTO projection_shards (projection, generation, shard) VALUES (:projection, 1, 7)",
    "INSERT INTO projection_fences (projection, generation, shard, number, log_id, incarnation, seq, position)"
    " VALUES (:projection, 1, 7, 1, 'log', 'incarnation', 3, 9)",
    "INSERT INTO projection_states (projection, generation, shard, key, state) VALUES (:projection, 1, 7, 'k', '')",
    "INSERT INTO projection_parked (projection, generation, shard, key, parked) VALUES (:projection, 1, 7, 'k', '{}')",
)
OF_SHARDS = ("projection_fences", "projection_shards", "projection_states", "projection_parked")


def insert_rows(engine: Engine, *projections: str) -> None:
    """Insert a generation, a shard, its fence, a state and a parked key of each projection."""
    with engine.begin() as connection:
        for projection in projections:
            for statement in _ROWS:
                connection.execute(text(statement), {"projection": projection})


def projections_in(engine: Engine, table: str) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(text(f"SELECT projection FROM {table}")).scalars())
