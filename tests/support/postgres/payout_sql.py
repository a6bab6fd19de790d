"""What each completed leg is paid, by SQL over the events: an independent computation of docs/payments.md.

Only the Avro payloads are decoded by the project's own code, into a temporary table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from domain.features.event_time import effective_time_ms
from infrastructure.backends import Backends
from infrastructure.postgres.copy_text import copy_text

_FACTS = """
CREATE TEMPORARY TABLE facts (
  position bigint, rider text COLLATE "C", kind text, t_ms bigint, event_id text COLLATE "C", latitude float8,
  longitude float8, accuracy float8, order_id text COLLATE "C", leg text COLLATE "C", outcome text, time_zone text
)
"""

_COLUMNS = "position, rider, kind, t_ms, event_id, latitude, longitude, accuracy, order_id, leg, outcome, time_zone"

_AMOUNTS = """
CREATE TEMPORARY TABLE fixes AS
WITH accurate AS (
  SELECT rider, position, t_ms, event_id,
         round(latitude * 1e7)::bigint AS lat, round(longitude * 1e7)::bigint AS lon
  FROM facts WHERE kind = 'GpsPing' AND (accuracy IS NULL OR accuracy <= 50)
), arrived AS (
  SELECT *, max(t_ms) OVER (PARTITION BY rider ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
            AS newest_ms
  FROM accurate
), in_time AS (
  SELECT * FROM arrived WHERE newest_ms IS NULL OR t_ms >= (newest_ms / 300000 - 3) * 300000
)
SELECT DISTINCT ON (rider, t_ms / 10000) rider, t_ms, lat, lon
FROM in_time ORDER BY rider, t_ms / 10000, t_ms, lat, lon, event_id;

CREATE TEMPORARY TABLE steps AS
WITH pairs AS (
  SELECT rider, t_ms, lat, lon,
         lag(t_ms) OVER w AS t0_ms, lag(lat) OVER w AS lat0, lag(lon) OVER w AS lon0
  FROM fixes WINDOW w AS (PARTITION BY rider ORDER BY t_ms)
), lengths AS (
  SELECT *, t_ms - t0_ms AS ms, round(2000.0::float8 * 6371008.8::float8 * asin(least(1.0::float8, sqrt(
         power(sin((radians(lat / 1e7::float8) - radians(lat0 / 1e7::float8)) / 2), 2)
         + cos(radians(lat0 / 1e7::float8)) * cos(radians(lat / 1e7::float8))
           * power(sin(radians(lon / 1e7::float8 - lon0 / 1e7::float8) / 2), 2)))))::bigint AS mm
  FROM pairs
)
SELECT rider, t_ms, lat, lon, lat0, lon0, ms,
       CASE WHEN ms IS NULL OR ms > 3600000 OR mm > 40 * ms OR mm < CASE WHEN ms <= 120000 THEN ms ELSE 100000 END
            THEN 0 ELSE mm END AS mm
FROM lengths;

CREATE TEMPORARY TABLE legs AS
WITH started AS (
  SELECT *, row_number() OVER (PARTITION BY rider, order_id, leg ORDER BY position) AS n
  FROM facts WHERE kind = 'LegStarted'
), ended AS (
  SELECT *, row_number() OVER (PARTITION BY rider, order_id, leg ORDER BY position) AS n
  FROM facts WHERE kind = 'LegEnded'
)
SELECT s.rider, s.order_id, s.leg, s.n, s.event_id, s.t_ms AS start_ms, e.t_ms AS end_ms, e.outcome, s.time_zone,
       round(s.latitude * 1e7)::bigint AS lat, round(s.longitude * 1e7)::bigint AS lon
FROM started s LEFT JOIN ended e USING (rider, order_id, leg, n);
CREATE INDEX ON legs (rider, start_ms);
ANALYZE legs, steps;

CREATE TEMPORARY TABLE leg_amounts AS
WITH covered AS (
  SELECT l.rider, l.order_id, l.leg, l.n, s.t_ms, s.mm, s.ms,
         count(*) OVER (PARTITION BY s.rider, s.t_ms) AS sharing,
         row_number() OVER (PARTITION BY s.rider, s.t_ms ORDER BY l.start_ms, l.order_id, l.leg, l.event_id) AS place,
         s.ms <= 3600000 AND abs(s.lat - l.lat) <= 8993 AND abs(s.lat0 - l.lat) <= 8993
         AND greatest(abs(s.lon - l.lon), abs(s.lon0 - l.lon)) * cos(radians(l.lat / 1e7::float8)) <= 8993 AS at_target
  FROM steps s JOIN legs l ON l.rider = s.rider AND l.start_ms <= s.t_ms AND (l.end_ms IS NULL OR s.t_ms < l.end_ms)
), shared AS (
  SELECT rider, order_id, leg, n,
         mm / sharing + CASE WHEN place = 1 THEN mm % sharing ELSE 0 END AS mm,
         CASE WHEN at_target AND row_number() OVER (PARTITION BY rider, t_ms, at_target ORDER BY place) = 1
              THEN ms ELSE 0 END AS waited_ms
  FROM covered
), measured AS (
  SELECT rider, order_id, leg, n, sum(mm) AS mm, sum(waited_ms) AS waited_ms FROM shared GROUP BY 1, 2, 3, 4
), items AS (
  SELECT l.order_id, l.leg, l.rider, l.end_ms,
         extract(hour FROM to_timestamp(l.end_ms / 1000) AT TIME ZONE l.time_zone) AS hour,
         (CASE l.leg WHEN 'to_restaurant' THEN 120 ELSE 240 END)
         + floor(coalesce(m.mm, 0) * 55.0 / 1000000 + 0.5)
         + floor(greatest(0, coalesce(m.waited_ms, 0) - 300000) * 18.0 / 60000 + 0.5) AS subtotal
  FROM legs l LEFT JOIN measured m USING (rider, order_id, leg, n)
  WHERE l.outcome = 'completed'
)
SELECT order_id, leg, rider, end_ms,
       (subtotal + CASE WHEN hour >= 22 OR hour < 6 THEN floor(subtotal * 0.25 + 0.5) ELSE 0 END)::bigint AS amount
FROM items
"""

_WRONG = """
SELECT coalesce(e.order_id, a.order_id), coalesce(e.leg, a.leg), a.amount, e.amount, e.payouts
FROM leg_amounts a FULL JOIN (
  SELECT order_id, leg, rider_id, sum(amount_minor) AS amount, count(*) FILTER (WHERE kind = 'payout') AS payouts
  FROM payout_entries WHERE generation = :generation GROUP BY 1, 2, 3
) e ON e.order_id = a.order_id AND e.leg = a.leg AND e.rider_id = a.rider
WHERE a.amount IS DISTINCT FROM e.amount OR e.payouts IS DISTINCT FROM 1
"""

_TOTALS = """
SELECT (SELECT count(*) FROM leg_amounts) AS legs, (SELECT coalesce(sum(amount), 0) FROM leg_amounts) AS amount,
       (SELECT count(*) FROM payout_entries WHERE generation = :generation AND kind = 'adjustment') AS adjustments,
       (SELECT coalesce(sum(amount_minor), 0) FROM payout_entries WHERE generation = :generation) AS paid,
       (SELECT count(*) FROM facts) AS events
"""


class SqlSums(NamedTuple):
    """The sums by SQL beside those of the read model; ``wrong`` has the legs that differ: order, leg, both amounts."""

    legs: int
    amount: int
    adjustments: int
    paid: int
    events: int
    wrong: list[Any]


def sums_by_sql(backends: Backends, generation: int) -> SqlSums:
    with backends.engine.connect() as connection:
        connection.execute(text(_FACTS))
        _copy_facts(connection, backends)
        connection.execute(text("ANALYZE facts"))
        for statement in _AMOUNTS.split(";\n"):
            connection.execute(text(statement))
        wrong = [tuple(row) for row in connection.execute(text(_WRONG), {"generation": generation})]
        totals = connection.execute(text(_TOTALS), {"generation": generation}).one()
        connection.rollback()
    legs, amount, adjustments, paid, events = map(int, totals)
    return SqlSums(legs, amount, adjustments, paid, events, wrong)


def _copy_facts(connection: Connection, backends: Backends) -> None:
    """Every event of riders with its decoded fields, in chunks."""
    cursor = connection.connection.cursor()
    after = 0
    while True:
        found = connection.execute(
            text(
                "SELECT position, aggregate_key, event_type, payload FROM events"
                " WHERE position > :after AND stream = 'Rider'"
                " AND event_type IN ('GpsPing', 'LegStarted', 'LegEnded') ORDER BY position LIMIT 20000"
            ),
            {"after": after},
        ).all()
        if not found:
            return
        rows = []
        for position, rider, kind, payload in found:
            data = backends.decode(bytes(payload))
            target = "target_" if kind == "LegStarted" else ""
            place = (data.get(f"{target}latitude"), data.get(f"{target}longitude"), data.get("accuracy_meters"))
            leg = tuple(data.get(name) for name in ("order_id", "leg", "outcome", "time_zone"))
            rows.append((position, rider, kind, effective_time_ms(data), data["event_id"], *place, *leg))
        cursor.copy_expert(f"COPY facts ({_COLUMNS}) FROM STDIN (ENCODING 'UTF8')", copy_text(rows))
        after = found[-1].position
