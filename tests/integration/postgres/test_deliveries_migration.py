"""Migration 0011: the table of deliveries and its fences come and go together."""

from __future__ import annotations

from sqlalchemy import Engine, text

from infrastructure.postgres import migrations
from infrastructure.postgres.engine import writer_engine

_FENCE = text(
    "INSERT INTO projection_fences (projection, generation, shard, number, log_id, incarnation, seq, position)"
    " VALUES (:projection, 1, 7, 1, 'log', 'incarnation', 3, 9)"
)
_SHARD = text("INSERT INTO projection_shards (projection, generation, shard) VALUES (:projection, 1, 7)")
_STATE = text(
    "INSERT INTO projection_states (projection, generation, shard, key, state) VALUES (:projection, 1, 7, 'k', '')"
)
_PARKED = text(
    "INSERT INTO projection_parked (projection, generation, shard, key, parked) VALUES (:projection, 1, 7, 'k', '{}')"
)
_GENERATION = text(
    "INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active)"
    " VALUES (:projection, 1, 1, 'digest', true)"
)
TABLES = ("projection_fences", "projection_shards", "projection_states", "projection_parked", "projection_generations")


def projections_in(engine: Engine, table: str) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(text(f"SELECT projection FROM {table}")).scalars())


def test_a_table_that_is_dropped_and_made_again_has_no_fences_of_the_dropped_one(empty_postgres_url: str) -> None:
    """Else its projection would go on after them, and no order before them would ever have a row."""
    migrations.upgrade(empty_postgres_url)
    engine = writer_engine(empty_postgres_url)
    with engine.begin() as connection:
        for projection in ("deliveries", "analytics"):
            for statement in (_GENERATION, _SHARD, _FENCE, _STATE, _PARKED):
                connection.execute(statement, {"projection": projection})
    engine.dispose()
    migrations.downgrade(empty_postgres_url, "0010")
    migrations.upgrade(empty_postgres_url)
    assert [projections_in(engine, table) for table in TABLES[:-1]] == [{"analytics"}] * 4
    assert projections_in(engine, "projection_generations") == {"analytics", "deliveries"}
    engine.dispose()
