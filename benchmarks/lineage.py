"""Follows causes and effects over HTTP in a log of 10,000,000 events, beside the same look-up without its index.

python -m benchmarks.lineage [events] [--etas 1000000]

The rows are filled in by SQL, against the routes: orders and riders of one delivery are among them, and one rider has
a day of real pings, a ping each five seconds. The CPU is that of an answer in this process, which is server and client,
and in all processes of Postgres: on a machine with other work, the times are mostly waiting.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import httpx
from sqlalchemy import text

from benchmarks.cpu import by_process, postmaster_of, used_s
from benchmarks.results import Target, at_most
from benchmarks.support import postgres, report
from domain.gps_ping import parse_ping
from domain.identifiers import aggregate_id
from infrastructure.backends import Backends
from infrastructure.event_store.partitions import ensure_partitions
from infrastructure.settings.settings import Settings
from tests.support.worlds.linked_city import KEY, ORDER, RIDER, START_MS, LinkedCity, lineage_client

READS = 100
RIDERS = 1_000
DAY_PINGS = 17_280
DAY_RIDER = "all day"
FIRST = 1_000_000
"""Positions of the filled rows begin here: before them is what was recorded as in serving."""

_EVENTS = """
INSERT INTO events (position, stream, shard, seq, aggregate_id, version, aggregate_type, aggregate_key, event_type,
  event_id, event_time, recorded_at, payload)
SELECT :first + g, 'Rider', g % 64, :first + g, (CAST(:riders AS uuid[]))[1 + g % :count], 1000 + g / :count, 'Rider',
  'filled', 'GpsPing', gen_random_uuid(), to_timestamp(1795990000 + g / :count * 5),
  to_timestamp(1795990000 + g / :count * 5), decode(repeat('00', 90), 'hex')
FROM generate_series(1 + :from, :upto) g
"""
_ETAS = """
INSERT INTO served_etas (log_id, order_id, order_generation, order_version, order_position, rider_id, rider_generation,
  rider_version, rider_position, city_snapshot, city_digest, code_digest, model_digest, fingerprint, at_ms, body)
SELECT s.log_id, 'order-' || g % :orders, 1, 1, :first + g, 'rider-' || g % :count, 1, 1, :first + g, 7, 'c', 'code',
  'd', '{}', s.at_ms + g, s.body FROM (SELECT * FROM served_etas ORDER BY id LIMIT 1) s, generate_series(1, :rows) g
"""
_ENTRIES = """
INSERT INTO payout_entries
SELECT generation, 'entry-' || g, g % 64, kind, 'payout-' || g, 'rider-' || g % :count, 'order-' || g, leg, outcome,
  currency, amount_minor, items, tariff_version, ended_at, period, :first + g, :first + g
  FROM (SELECT * FROM payout_entries ORDER BY seq LIMIT 1) s, generate_series(1, :rows) g
"""
_WITHOUT_INDEX = text("SELECT position FROM events WHERE event_id = CAST(:id AS uuid)")
_PART = 1_000_000
ANSWERS_OF_AN_ORDER = 1_000
PARTITION_ROWS = 10_000_000
MAX_MS = 100.0
"""Of one click."""


def fill(city: LinkedCity, events: int, etas: int) -> None:
    """A day of real pings, then rows by SQL until the tables have as many as wanted."""
    for first in range(0, DAY_PINGS, 5_000):
        pings = [
            parse_ping(
                {
                    "rider_id": DAY_RIDER,
                    "latitude": 52.4 + number * 4e-6,
                    "longitude": 13.4,
                    "event_timestamp_ms": START_MS - 86_400_000 + number * 5_000,
                    "accuracy_meters": 5,
                },
                START_MS - 86_400_000 + number * 5_000 + 300,
            )
            for number in range(first, min(first + 5_000, DAY_PINGS))
        ]
        city.backends.riders.record_pings(pings)
    with city.backends.engine.begin() as connection:
        ensure_partitions(connection, FIRST + events, PARTITION_ROWS)
    values: dict[str, Any] = {"first": FIRST, "count": RIDERS}
    riders = [str(aggregate_id("Rider", f"rider-{number}")) for number in range(RIDERS)]
    for start in range(0, events, _PART):
        with city.backends.engine.begin() as connection:
            part = {"riders": riders, "from": start, "upto": min(start + _PART, events)}
            connection.execute(text(_EVENTS), {**values, **part})
    with city.backends.engine.begin() as connection:
        orders = max(1, etas // ANSWERS_OF_AN_ORDER)
        connection.execute(text(_ETAS), {**values, "rows": etas, "orders": orders})
        connection.execute(text(_ENTRIES), {**values, "rows": etas // 2})
    with city.backends.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in ("events", "served_etas", "payout_entries"):
            connection.execute(text(f"VACUUM ANALYZE {table}"))


def timed(http: httpx.Client, paths: Sequence[str]) -> list[float]:
    """Milliseconds of one read of each path, sorted."""
    took = []
    for path in paths:
        began = time.perf_counter()
        answer = http.get(path)
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (path, answer.text)
    return sorted(took)


def routes(city: LinkedCity, late: int, alert_id: str, eta_id: int, etas: int) -> dict[str, list[str]]:
    """The paths of each kind of link, READS of each."""
    chance = random.Random(7)
    day = [each["position"] for each in city.events("Rider", DAY_RIDER) if each["type"] == "GpsPing"]
    order = [each["position"] for each in city.events("Delivery", ORDER)]
    with city.backends.engine.connect() as connection:
        entries = connection.execute(text("SELECT entry_id FROM payout_entries WHERE position < :p"), {"p": FIRST})
        own = list(entries.scalars())
    return {
        "a ping of a day of 17,280": [f"/lineage/events/{chance.choice(day)}" for _ in range(READS)],
        "a late ping and its adjustment": [f"/lineage/events/{late}"] * READS,
        "an event of an order": [f"/lineage/events/{chance.choice(order)}" for _ in range(READS)],
        "an event by its id": [
            f"/lineage/events?key={RIDER}&event_id={city.id_at(chance.choice(city.positions))}" for _ in range(READS)
        ],
        "a command": [f"/lineage/commands/{KEY}"] * READS,
        "an alert": [f"/lineage/alerts/{alert_id}"] * READS,
        "a payout": [f"/lineage/payouts/{chance.choice(own)}" for _ in range(READS)],
        "an ETA": [f"/lineage/etas/{eta_id}"] * READS,
        "1,000 ETAs of an order": [
            f"/deliveries/order-{number % max(1, etas // ANSWERS_OF_AN_ORDER)}/etas?limit=1000"
            for number in range(READS)
        ],
    }


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lineage")
    parser.add_argument("events", nargs="?", type=int, default=10_000_000)
    parser.add_argument(
        "--etas", type=int, default=1_000_000, help="answers on record; half as many entries of payouts"
    )
    options = parser.parse_args(arguments)
    # A line for each request would be in the times.
    logging.disable(logging.INFO)
    figures: dict[str, Any] = {}
    targets: dict[str, Target] = {}
    with postgres() as url, Backends(Settings(postgres_url=url)) as backends:
        city = LinkedCity(backends)
        late, alert_id = city.late_ping(), city.raise_alert(city.positions[12])
        eta_id = [city.serve_eta(2, city.positions[place], 600.0) for place in (3, 4)][-1]
        began = time.perf_counter()
        fill(city, options.events, options.etas)
        figures["seconds to fill"] = time.perf_counter() - began
        server = postmaster_of(backends.engine)
        with lineage_client(backends) as http:
            for name, paths in routes(city, late, alert_id, eta_id, options.etas).items():
                # Once before, so that the tables of the day's rider have their state snapshots, as in serving.
                timed(http, paths[:1])
                worked, served = time.process_time(), by_process(server)
                took = timed(http, paths)
                here_ms = (time.process_time() - worked) * 1000 / len(paths)
                postgres_ms = used_s(served, by_process(server)) * 1000 / len(paths)
                figures[f"{name}, ms: p50"] = statistics.median(took)
                figures[f"{name}, ms: p95"] = took[int(0.95 * len(took))]
                figures[f"{name}, ms: CPU here and of Postgres"] = f"{here_ms:.1f} + {postgres_ms:.1f}"
                targets[f"{name}, ms: p95"] = at_most(MAX_MS)
        with backends.engine.connect() as connection:
            began = time.perf_counter()
            connection.execute(_WITHOUT_INDEX, {"id": city.id_at(city.positions[7])}).all()
            scan_ms = (time.perf_counter() - began) * 1000
        figures["an event by its id without an index, ms"] = scan_ms
        figures["ratio: without an index / ours"] = scan_ms / figures["an event by its id, ms: p50"]
    report(f"lineage in a log of {options.events:,} events", figures, targets)


if __name__ == "__main__":
    main(sys.argv[1:])
