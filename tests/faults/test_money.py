"""Each payout is booked once, to the cent of SQL over the events, while every process and the provider are killed."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from infrastructure.backends import Backends
from infrastructure.operations.statements import read_statement, verify_statement
from infrastructure.settings.settings import Settings
from read_models.payouts.published import TOPIC
from tests.support.postgres.payout_sql import sums_by_sql
from tests.support.reports.proofs import whole
from tests.support.servers.fake_provider import SECRET
from tests.support.servers.provider_process import ProviderProcess, provider_process
from tests.support.waiting import eventually
from tests.support.worlds.locations import read_records
from tests.support.worlds.order_load import OrderLoad
from tests.support.worlds.paid_city import PaidCity
from tests.support.worlds.payouts_topic import shown
from tests.support.worlds.ridelog import Ridelog, ridelog

DELIVERIES = int(os.environ.get("RIDELOG_TEST_DELIVERIES", "100000")) if whole() else 40
DELIVERIES_EACH = 100 if DELIVERIES >= 10_000 else 10
PING_INTERVAL_S = 30 if DELIVERIES >= 1_000 else 10
"""A proof of that size is of payments, not of pings: 5 pings a delivery still make steps, late ones and adjustments."""
PROVIDER = "provider"
PROGRAMS = ("api", "tailer", "projections", "city", "postgres", "redis", "kafka", "payments")
KILLED = (*PROGRAMS, PROVIDER) if whole() else ("payments", PROVIDER, "postgres", "projections")
ROUNDS = 3 if DELIVERIES >= 10_000 else 1
COMMANDS_A_KILL = 40
VERIFIED_RIDERS = 200 if whole() else 4
HAND_OVER_S = 120.0 + DELIVERIES / 20
"""Bounds the wait for the last hand-over; it decides nothing else."""


@pytest.mark.proof
def test_every_payout_is_paid_once_through_kills_of_every_process(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        provider_process(tmp_path / PROVIDER) as provider,
        ridelog(
            tmp_path / "data",
            payments_url=provider.url,
            payments_secret=SECRET,
            payments_since="1970-01-01T00:00:00Z",
        ) as one,
        Backends(Settings(postgres_url=one.info.postgres_url)) as backends,
    ):
        riders = [*record_history(one, provider, backends), *deliver_live(one, provider)]
        wait_until_paid(one, backends)
        found = account(one, provider, backends)
        verify_statements(backends, riders)

        requests, records = provider.requests(), published(one)
        rebuilt = one.cli("rebuild-projection", "payouts", timeout_s=HAND_OVER_S)
        assert rebuilt.returncode == 0, rebuilt.stderr
        wait_until_paid(one, backends)
        assert (provider.requests(), published(one)) == (requests, records)
        assert account(one, provider, backends, generation=2) == found

    found |= {"riders": len(riders), "kills of the provider": provider.kills, "requests": requests}
    for name, value in found.items():
        record_property(name, value)


def record_history(one: Ridelog, provider: ProviderProcess, backends: Backends) -> Sequence[str]:
    """Most of the deliveries, written to the log beside the running programs, which are killed one after the other.

    The writer waits while Postgres restarts; all others are killed in mid work.
    """
    city = PaidCity(backends, DELIVERIES // DELIVERIES_EACH, DELIVERIES_EACH, seed=19, ping_interval_s=PING_INTERVAL_S)
    # A delivery takes about four of its windows.
    kills = {4 * DELIVERIES_EACH * n // (ROUNDS * len(KILLED)): name for n, name in enumerate(KILLED * ROUNDS)}
    for window in city.windows():
        name = kills.get(window)
        if name is not None:
            kill(one, provider, name)
            if name == "postgres":
                backends.drop_connections()
                one.wait_ready()
    return city.riders


def deliver_live(one: Ridelog, provider: ProviderProcess) -> Sequence[str]:
    """Couriers deliver over HTTP while each program is killed in mid delivery."""
    with OrderLoad(one, seed=19) as load:
        for name in KILLED:
            load.wait_for(COMMANDS_A_KILL)
            kill(one, provider, name)
        load.wait_for(COMMANDS_A_KILL)
    return load.riders


def kill(one: Ridelog, provider: ProviderProcess, name: str) -> None:
    if name == PROVIDER:
        provider.kill_and_restart()
    else:
        one.kill(name)


_FOLDED = text(
    "SELECT shard, max(seq) AS seq FROM projection_fences"
    " JOIN projection_generations g USING (projection, generation)"
    " WHERE projection = 'payouts' AND g.active GROUP BY shard"
)
_ENTRY_IDS = text(
    "SELECT entry_id FROM payout_entries JOIN projection_generations g USING (generation)"
    " WHERE g.projection = 'payouts' AND g.active"
)
_WAITING = text("SELECT EXISTS (SELECT FROM payment_handovers WHERE state IN ('open', 'held'))")
_OPEN = text(
    "WITH active AS (SELECT generation FROM projection_generations WHERE projection = 'payouts' AND active)"
    " SELECT (SELECT count(*) FROM payout_entries e WHERE generation = (SELECT generation FROM active)"
    "  AND NOT EXISTS (SELECT FROM payment_handovers h WHERE h.entry_id = e.entry_id AND h.state = 'done'))"
)


def wait_until_paid(one: Ridelog, backends: Backends) -> None:
    """Until every event is folded and every entry is done at the provider and on the topic."""
    one.wait_ready()
    backends.drop_connections()

    def behind() -> int:
        head = backends.log.head("Rider")
        with backends.engine.connect() as connection:
            folded = {row.shard: row.seq for row in connection.execute(_FOLDED)}
        return sum(seq - folded.get(shard, 0) for shard, seq in enumerate(head.seqs))

    def is_paid() -> bool:
        """The second query reads all entries: not while the first one finds one that waits."""
        with backends.engine.connect() as connection:
            return not connection.execute(_WAITING).scalar_one() and connection.execute(_OPEN).scalar_one() == 0

    eventually(lambda: behind() == 0, within_s=HAND_OVER_S, every_s=1.0, what="payouts is at the head")
    eventually(is_paid, within_s=HAND_OVER_S, every_s=1.0, what="every entry is handed over")
    with backends.engine.connect() as connection:
        entries = set(connection.execute(_ENTRY_IDS).scalars())
    eventually(
        lambda: set(shown(published(one))) == entries, within_s=HAND_OVER_S, every_s=5.0, what="the topic has them all"
    )


_ENTRIES = text(
    "SELECT rider_id, entry_id, amount_minor, currency FROM payout_entries"
    " WHERE generation = :generation ORDER BY rider_id, seq"
)


def published(one: Ridelog) -> list[tuple[bytes, bytes]]:
    return sorted(read_records(one.info.kafka_bootstrap, TOPIC))


def account(one: Ridelog, provider: ProviderProcess, backends: Backends, generation: int = 1) -> dict[str, Any]:
    """Compare provider, table, topic and SQL over the events. Returns the sums."""
    sums = sums_by_sql(backends, generation)
    assert sums.wrong == []
    assert sums.amount == sums.paid

    with backends.engine.connect() as connection:
        rows = connection.execute(_ENTRIES, {"generation": generation}).all()
    paid: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for row in rows:
        if row.amount_minor:
            # An amount of 0 is done without a call.
            paid[row.rider_id].append((row.entry_id, row.amount_minor, row.currency))
    booked: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for body in provider.booked():
        booked[body["rider_id"]].append((body["entry_id"], body["amount_minor"], body["currency"]))
    # Each rider's payments in order, each once, with its amount.
    assert booked == paid
    assert sum(amount for each in booked.values() for _, amount, _ in each) == sums.amount

    on_topic = {key: value["amount_minor"] for key, value in shown(published(one)).items()}
    assert on_topic == {row.entry_id: row.amount_minor for row in rows}
    return {name: value for name, value in sums._asdict().items() if name != "wrong"} | {"entries": len(rows)}


def verify_statements(backends: Backends, riders: Sequence[str]) -> None:
    """Every statement of some riders is recomputed from the log, to the cent."""
    periods = text("SELECT DISTINCT period FROM payout_entries WHERE generation = 1 AND rider_id = :rider")
    for rider in [*riders[:VERIFIED_RIDERS], *riders[-4:]]:
        with backends.engine.connect() as connection:
            found = connection.execute(periods, {"rider": rider}).scalars().all()
        assert found
        for period in found:
            read = read_statement(backends, rider, period)
            assert verify_statement(backends, rider, period, read).differences == []
