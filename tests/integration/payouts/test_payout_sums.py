"""Payouts on a real log: every leg is paid once, to the cent of an independent computation in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.operations.statements import read_statement, verify_statement
from infrastructure.settings.settings import Settings
from projections.rebuild.comparison import digest
from tests.support.postgres.payout_sql import sums_by_sql
from tests.support.reports.proofs import whole
from tests.support.worlds.paid_city import NEXT_WEEK, WEEK, PaidCity

RIDERS, DELIVERIES_EACH = (1_000, 100) if whole() else (8, 10)
VERIFIED_RIDERS = 200 if whole() else RIDERS


@pytest.fixture
def backends(postgres_url: str) -> Iterator[Backends]:
    with Backends(Settings(postgres_url=postgres_url)) as opened:
        yield opened


@pytest.mark.proof
def test_every_leg_is_paid_once_and_the_sums_are_those_of_sql(
    backends: Backends, record_property: Callable[[str, object], None]
) -> None:
    city = PaidCity(backends, RIDERS, DELIVERIES_EACH, seed=11)
    city.live()
    found = sums_by_sql(backends, 1)
    assert found.wrong == []
    assert found.amount == found.paid
    assert found.legs > RIDERS * DELIVERIES_EACH
    assert found.adjustments > found.legs / 50

    # Rebuilt beside the live generation: the same entries, so nothing is paid again.
    city.fold(2)
    live, rebuilt = city.sink(1), city.sink(2)
    assert [digest(rebuilt.dump(shard)) for shard in range(SHARDS)] == [
        digest(live.dump(shard)) for shard in range(SHARDS)
    ]

    # Statements are the log's to the cent, and all of them together are all that is paid.
    with backends.engine.connect() as connection:
        by_rider = connection.execute(
            text(
                "SELECT rider_id, sum(amount_minor), count(DISTINCT period) FROM payout_entries"
                " WHERE generation = 1 GROUP BY rider_id"
            )
        ).all()
    assert len(by_rider) == RIDERS
    moved = 0
    for rider, amount, _periods in by_rider[:VERIFIED_RIDERS]:
        total = 0
        for period in (WEEK, NEXT_WEEK):
            read = read_statement(backends, rider, period)
            assert verify_statement(backends, rider, period, read).differences == []
            total += sum(row["amount_minor"] for row in read.rows)
            moved += sum(
                row["kind"] == "adjustment"
                and row["ended_at"].isoformat() < "2026-11-30"
                and row["period"] == NEXT_WEEK
                for row in read.rows
            )
        assert total == amount
    assert moved > 0, "an entry after the close goes to the next week"

    for name, value in found._asdict().items():
        if name != "wrong":
            record_property(name, value)
