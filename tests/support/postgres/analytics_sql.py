"""What the analytics tables must hold, computed in SQL from the events table: no fold, no window, no domain code.

The payloads are decoded here by fastavro with the schemas as the registry has them.
"""

from __future__ import annotations

import heapq
import json
import struct
from collections import defaultdict
from io import BytesIO
from typing import Any

import fastavro
from sqlalchemy import Connection, text

KEPT = 10
"""A fix that comes when so many later ones are known is too late for its steps."""

_PINGS = """
CREATE TEMPORARY TABLE pings (
    rider text, version bigint, shard int, t_ms bigint, event_id text, latitude float8, longitude float8,
    received_ms bigint, rejected bool, too_late bool, hour bigint, minute bigint
) ON COMMIT DROP
"""

_STEPS = """
CREATE TEMPORARY TABLE steps ON COMMIT DROP AS
WITH fixes AS (
    SELECT rider, shard, hour, minute, t_ms, latitude, longitude,
           t_ms - lag(t_ms) OVER track AS dt,
           radians(lag(latitude) OVER track) AS phi1, radians(latitude) AS phi2,
           radians(longitude - lag(longitude) OVER track) AS dlambda
    FROM pings WHERE NOT rejected AND NOT too_late
    WINDOW track AS (PARTITION BY rider ORDER BY t_ms, event_id COLLATE "C")
), distances AS (
    SELECT *, round(2000 * 6371008.8 * asin(least(1, sqrt(
        power(sin((phi2 - phi1) / 2), 2) + cos(phi1) * cos(phi2) * power(sin(dlambda / 2), 2)
    ))))::bigint AS mm
    FROM fixes WHERE dt IS NOT NULL
)
SELECT rider, shard, hour, minute, dt, mm, dt > 0 AND mm > 60 * dt AS impossible,
       dt > 0 AND mm <= 60 * dt AS possible,
       dt > 0 AND mm <= 60 * dt AND dt <= 300000 AND 2 * mm >= dt AS moving
FROM distances
"""

_PER_PING = """
    count(*) AS pings,
    count(*) FILTER (WHERE rejected) AS rejected_fixes,
    count(*) FILTER (WHERE too_late) AS too_late"""

_PER_STEP = """
    count(*) FILTER (WHERE impossible) AS impossible_steps,
    coalesce(sum(mm) FILTER (WHERE possible), 0) AS distance_mm,
    coalesce(sum(mm) FILTER (WHERE moving), 0) AS moving_mm,
    coalesce(sum(dt) FILTER (WHERE moving), 0) AS moving_ms"""

_RIDER_HOURS = f"""
SELECT p.*, coalesce(s.impossible_steps, 0) AS impossible_steps, coalesce(s.distance_mm, 0) AS distance_mm,
       coalesce(s.moving_mm, 0) AS moving_mm, coalesce(s.moving_ms, 0) AS moving_ms,
       coalesce(s.speed_max_mm_s, 0) AS speed_max_mm_s, coalesce(s.longest_silence_ms, 0) AS longest_silence_ms
FROM (
    SELECT rider, hour, {_PER_PING},
        count(*) FILTER (WHERE received_ms > 0 AND received_ms - t_ms >= 60000 AND received_ms - t_ms < 300000)
            AS late_1_min,
        count(*) FILTER (WHERE received_ms > 0 AND received_ms - t_ms >= 300000 AND received_ms - t_ms < 900000)
            AS late_5_min,
        count(*) FILTER (WHERE received_ms > 0 AND received_ms - t_ms >= 900000 AND received_ms - t_ms < 3600000)
            AS late_15_min,
        count(*) FILTER (WHERE received_ms > 0 AND received_ms - t_ms >= 3600000) AS late_60_min
    FROM pings GROUP BY rider, hour
) p LEFT JOIN (
    SELECT rider, hour, {_PER_STEP},
        coalesce(max(mm * 1000 / dt) FILTER (WHERE moving), 0) AS speed_max_mm_s,
        max(dt) AS longest_silence_ms
    FROM (SELECT *, nullif(dt, 0) AS divisor FROM steps) s GROUP BY rider, hour
) s USING (rider, hour)
""".replace("mm * 1000 / dt", "mm * 1000 / divisor")

_FLEET_MINUTES = f"""
SELECT p.*, coalesce(s.impossible_steps, 0) AS impossible_steps, coalesce(s.distance_mm, 0) AS distance_mm,
       coalesce(s.moving_mm, 0) AS moving_mm, coalesce(s.moving_ms, 0) AS moving_ms
FROM (
    SELECT minute, count(DISTINCT rider) FILTER (WHERE NOT rejected AND NOT too_late) AS riders, {_PER_PING}
    FROM pings GROUP BY minute
) p LEFT JOIN (SELECT minute, {_PER_STEP} FROM steps GROUP BY minute) s USING (minute)
"""

Rows = dict[tuple[Any, ...], dict[str, int]]


def expected_by_sql(connection: Connection) -> tuple[Rows, Rows]:
    """rider_hours by (rider, hour as epoch hours) and the merged fleet by (minute as epoch minutes,)."""
    connection.execute(text(_PINGS))
    rows = _decoded(connection)
    if rows:
        connection.execute(
            text(
                "INSERT INTO pings VALUES (:rider, :version, :shard, :t_ms, :event_id, :latitude, :longitude,"
                " :received_ms, :rejected, :too_late, :t_ms / 3600000, :t_ms / 60000)"
            ),
            rows,
        )
    connection.execute(text(_STEPS))
    hours = connection.execute(text(_RIDER_HOURS)).mappings()
    found_hours = {(r["rider"], r["hour"]): _numbers(r, "rider", "hour") for r in hours}
    minutes = connection.execute(text(_FLEET_MINUTES)).mappings()
    return found_hours, {(r["minute"],): _numbers(r, "minute") for r in minutes}


def _numbers(row: Any, *keys: str) -> dict[str, int]:
    return {name: int(value) for name, value in row.items() if name not in keys}


def _decoded(connection: Connection) -> list[dict[str, Any]]:
    schemas = {
        i: fastavro.parse_schema(json.loads(s)) for i, s in connection.execute(text("SELECT id, schema FROM schemas"))
    }
    latest: dict[str, list[tuple[int, str]]] = defaultdict(list)
    rows = []
    query = text(
        "SELECT aggregate_key, version, shard, payload FROM events WHERE event_type = 'GpsPing' ORDER BY position"
    )
    for rider, version, shard, payload in connection.execute(query):
        body = BytesIO(bytes(payload))
        _, schema_id = struct.unpack(">BI", body.read(5))
        ping: Any = fastavro.schemaless_reader(body, schemas[schema_id], None)
        sent_ms, received_ms = ping["event_timestamp_ms"], ping.get("received_timestamp_ms", 0)
        # Invariant 6. Fixes of one reception are in the order of the times as sent.
        t_ms = received_ms if received_ms and sent_ms > received_ms + 2_000 else sent_ms
        identity = (t_ms, f"{sent_ms - t_ms:09d} {ping['event_id'].replace('-', '')}")
        rejected = ping["accuracy_meters"] is not None and ping["accuracy_meters"] > 50
        kept = latest[rider]
        too_late = not rejected and len(kept) == KEPT and identity < kept[0]
        if not rejected and not too_late:
            (heapq.heappush if len(kept) < KEPT else heapq.heappushpop)(kept, identity)
        rows.append(
            {
                "rider": rider,
                "version": version,
                "shard": shard,
                "t_ms": identity[0],
                "event_id": identity[1],
                "latitude": ping["latitude"],
                "longitude": ping["longitude"],
                "received_ms": received_ms,
                "rejected": rejected,
                "too_late": too_late,
            }
        )
    return rows
