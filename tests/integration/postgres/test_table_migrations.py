"""Migrations 0004, 0011, 0015 to 0017 and 0019: the tables of a projection and its fences come and go together."""

from __future__ import annotations

import pytest

from infrastructure.postgres import migrations
from infrastructure.postgres.engine import writer_engine
from tests.support.postgres.projection_rows import OF_SHARDS, insert_rows, projections_in


@pytest.mark.parametrize(
    ("projection", "before"),
    [
        ("analytics", "0003"),
        ("deliveries", "0010"),
        ("spoofing", "0013"),
        ("completion", "0015"),
        ("payouts", "0016"),
        ("outcomes", "0017"),
    ],
)
def test_a_table_that_is_dropped_and_made_again_has_no_fences_of_the_dropped_one(
    empty_postgres_url: str, projection: str, before: str
) -> None:
    """Else its projection would go on after them, and no order, alert or payout before them would ever have a row."""
    migrations.upgrade(empty_postgres_url)
    engine = writer_engine(empty_postgres_url)
    insert_rows(engine, projection, "other")
    engine.dispose()
    migrations.downgrade(empty_postgres_url, before)
    migrations.upgrade(empty_postgres_url)
    assert [projections_in(engine, table) for table in OF_SHARDS] == [{"other"}] * 4
    assert projections_in(engine, "projection_generations") == {"other", projection}
    engine.dispose()
