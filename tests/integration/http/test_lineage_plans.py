"""Each read of lineage is by an index and passes few rows, on tables of 100,000 rows that are filled against it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text

from domain.identifiers import aggregate_id
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.event_links import MAX_SEARCHED_EVENTS
from tests.support.postgres.explained_plans import explained
from tests.support.servers.servers import fresh_database
from tests.support.worlds.linked_city import KEY, ORDER, RIDER, LinkedCity, lineage_client, linked_city

ROWS = 100_000
LONG_RIDER = "long"
MAX_PASSED_ROWS = MAX_SEARCHED_EVENTS + 1_000
"""What a node of a plan may pass: the events that are searched for an id, with those of a few other queries."""

# One rider with half of the events. All of them have one command and one cause, as if one Idempotency-Key were used for
# everything and a client gave each ping one id.
FILL = """
INSERT INTO events (position, stream, shard, seq, aggregate_id, version, aggregate_type, aggregate_key, event_type,
  event_id, event_time, recorded_at, payload, command_id, caused_by)
SELECT 1000 + g, 'Rider', 1, 1000 + g, CASE WHEN g % 2 = 0 THEN CAST(:long AS uuid) ELSE gen_random_uuid() END, g,
  'Rider', 'long', 'ShiftStarted', gen_random_uuid(), to_timestamp(1790000000 + g), to_timestamp(1790000000 + g),
  '\\x00', :key, CAST(:cause AS uuid) FROM generate_series(1, :rows) g;
INSERT INTO served_etas (log_id, order_id, order_generation, order_version, order_position, rider_id, rider_generation,
  rider_version, rider_position, city_snapshot, city_digest, code_digest, model_digest, fingerprint, at_ms, body)
SELECT s.log_id, CASE WHEN g % 2 = 0 THEN s.order_id ELSE 'order-' || g END, 1, 1, 1000 + g,
  CASE WHEN g % 2 = 0 THEN s.rider_id ELSE 'rider-' || g END, 1, 1, 1000 + g, 7, 'c', 'code', 'd', '{}', s.at_ms, s.body
  FROM (SELECT * FROM served_etas ORDER BY id LIMIT 1) s, generate_series(1, :rows) g;
INSERT INTO payout_entries
SELECT generation, 'entry-' || g, shard, kind, 'payout-' || g, rider_id, order_id, leg, outcome, currency, amount_minor,
  items, tariff_version, ended_at, period, 1000 + g, 1000 + g
  FROM (SELECT * FROM payout_entries ORDER BY seq LIMIT 1) s, generate_series(1, :rows) g;
INSERT INTO fraud_alerts
SELECT generation, 'alert-' || g, shard, CASE WHEN g % 500 = 0 THEN rider_id ELSE 'rider-' || g END, raised_at,
  latest_at, score, signals, order_id, leg, 1000 + g, raised_position, fold_version, file
  FROM (SELECT * FROM fraud_alerts LIMIT 1) s, generate_series(1, :rows) g;
ANALYZE events; ANALYZE served_etas; ANALYZE payout_entries; ANALYZE fraud_alerts
"""


@pytest.fixture(scope="module")
def city(migrated_postgres: Postgres) -> Iterator[LinkedCity]:
    """The delivery with an adjustment, an alert and two ETAs, among 100,000 rows of others in each table."""
    with fresh_database(migrated_postgres) as url, linked_city(url) as one:
        one.late_ping()
        one.raise_alert(one.positions[12])
        for place in (3, 4):
            one.serve_eta(2, one.positions[place], 600.0)
        values = {"long": aggregate_id("Rider", LONG_RIDER), "key": KEY, "cause": one.id_at(one.positions[3])}
        with one.backends.engine.begin() as connection:
            for statement in FILL.split(";\n"):
                connection.execute(text(statement), {**values, "rows": ROWS})
        yield one


@pytest.fixture(scope="module")
def http(city: LinkedCity) -> Iterator[httpx.Client]:
    with lineage_client(city.backends) as client:
        yield client


def of(city: LinkedCity, query: str) -> str:
    with city.backends.engine.connect() as connection:
        return str(connection.execute(text(query)).scalar_one())


def paths(city: LinkedCity) -> list[str]:
    order = [each["position"] for each in city.events("Delivery", ORDER)]
    newest = of(city, "SELECT max(id) FROM served_etas WHERE order_id = 'order-1'")
    return [
        f"/lineage/events/{city.positions[3]}",
        f"/lineage/events/{city.positions[20]}",
        *(f"/lineage/events/{position}" for position in order),
        f"/lineage/events?key={RIDER}&event_id={city.id_at(city.positions[7])}",
        f"/lineage/events?key={LONG_RIDER}&event_id="
        + of(city, "SELECT event_id FROM events WHERE aggregate_key = 'long' AND version = 99998"),
        f"/lineage/commands/{KEY}",
        f"/lineage/commands/{KEY}?order_id={ORDER}",
        "/lineage/alerts/" + of(city, "SELECT alert_id FROM fraud_alerts WHERE alert_id NOT LIKE 'alert-%'"),
        "/lineage/payouts/" + of(city, "SELECT entry_id FROM payout_entries WHERE kind = 'adjustment'"),
        f"/lineage/etas/{newest}",
        f"/deliveries/{ORDER}/etas?limit=100",
    ]


def test_every_read_is_by_an_index_and_passes_few_rows(city: LinkedCity, http: httpx.Client) -> None:
    wanted = paths(city)
    with explained(city.backends.engine) as nodes:
        for path in wanted:
            answer = http.get(path)
            assert answer.status_code == 200, (path, answer.text)
    tables = ("events_p", "served_etas", "payout_entries", "fraud_alerts")
    read = [node for node in nodes if node.relation is not None and node.relation.startswith(tables)]
    assert {table for table in tables for node in read if str(node.relation).startswith(table)} == set(tables)
    assert [node for node in read if node.kind == "Seq Scan"] == []
    assert [node for node in nodes if node.passed > MAX_PASSED_ROWS] == []


def test_a_key_of_many_commands_is_cut_and_says_so(http: httpx.Client) -> None:
    found = http.get(f"/lineage/commands/{KEY}").json()
    assert (len(found["items"]), found["more"]) == (100, True)


def test_an_id_that_others_named_as_their_cause_brings_no_foreign_effects(city: LinkedCity, http: httpx.Client) -> None:
    """Given a ping whose id 100,000 events of other riders name, then none of them is shown as its effect."""
    found = http.get(f"/lineage/events/{city.positions[3]}").json()
    assert found["effects"] == []
