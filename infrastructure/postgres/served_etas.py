"""Stores served ETAs in Postgres, and reads them for the audit. Only the newest are kept.

Implements ``projections.parity.served_etas.ServedEtas``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.expression import bindparam

from infrastructure.postgres.errors import unavailable_as_port_error
from projections.parity.served_etas import DECIDED, EtaPlace, EtaTally, EtaVerdict, LoggedEta, ServedEta

_COLUMNS = (
    "id, log_id, code_digest, fingerprint, verdict, order_id, order_generation, order_version, order_position,"
    " rider_id, rider_generation, rider_version, rider_position, city_snapshot, city_digest, model_digest, at_ms, body"
)
_COUNT = text("SELECT count(*) FROM served_etas WHERE at_ms >= :since_ms")
_SCAN = "SELECT id FROM served_etas WHERE at_ms >= %s ORDER BY city_snapshot NULLS FIRST, id"
_OF_IDS = f"SELECT {_COLUMNS} FROM served_etas WHERE id = ANY(%s)"  # noqa: S608
_UNCHECKED_OF = (
    f"SELECT {_COLUMNS} FROM served_etas WHERE verdict IS NULL"  # noqa: S608
    " AND (city_snapshot = ANY(%s) OR city_snapshot IS NULL) ORDER BY id LIMIT %s"
)
_RECORD = text(
    "UPDATE served_etas SET verdict = :verdict WHERE id = ANY(:ids) AND verdict IS DISTINCT FROM :verdict"
    " AND (verdict IS NULL OR :decides OR verdict <> ALL(CAST(:decided AS text[])))"
)
# Of this code and of the generations that are read now: a rebuild, or other code, answers what these answered wrong.
_MISMATCHES = text(
    "WITH live AS (SELECT projection, generation FROM projection_generations WHERE active)"
    " SELECT count(*) FROM served_etas e LEFT JOIN city_snapshots c ON c.number = e.city_snapshot"
    " WHERE e.verdict = 'different' AND e.code_digest = :code"
    " AND EXISTS (SELECT FROM live WHERE projection = 'orders' AND generation = e.order_generation)"
    " AND (e.rider_generation IS NULL"
    "  OR EXISTS (SELECT FROM live WHERE projection = 'speed' AND generation = e.rider_generation))"
    " AND (c.number IS NULL OR NOT EXISTS (SELECT FROM live"
    "  WHERE projection IN ('traffic', 'orders', 'calibration')"
    "  AND generation <> CAST(c.generations ->> projection AS int)))"
)
_NEWEST_ID = text("SELECT coalesce(max(id), 0) FROM served_etas")
_TALLY = text("SELECT count(verdict), count(*) - count(verdict) FROM served_etas")
_WAITING = text("SELECT count(*) FROM served_etas WHERE verdict IS NULL")

# The log's id is that of the database at this moment: the states that were read are checked against it (invariant 14).
_ADD = text(
    "INSERT INTO served_etas (log_id, order_id, order_generation, order_version, order_position, rider_id,"
    "  rider_generation, rider_version, rider_position, city_snapshot, city_digest, code_digest, model_digest,"
    "  fingerprint, at_ms, body)"
    " SELECT h.log_id, u.order_id, u.order_generation, u.order_version, u.order_position, u.rider_id,"
    "  u.rider_generation, u.rider_version, u.rider_position, u.city_snapshot, u.city_digest, :code_digest,"
    "  u.model_digest, :fingerprint, u.at_ms, u.body"
    " FROM unnest(CAST(:order_ids AS text[]), CAST(:order_generations AS int[]), CAST(:order_versions AS bigint[]),"
    "  CAST(:order_positions AS bigint[]), CAST(:rider_ids AS text[]), CAST(:rider_generations AS int[]),"
    "  CAST(:rider_versions AS bigint[]), CAST(:rider_positions AS bigint[]), CAST(:city_snapshots AS bigint[]),"
    "  CAST(:city_digests AS text[]), CAST(:model_digests AS text[]), CAST(:times AS bigint[]),"
    "  CAST(:bodies AS bytea[])) WITH ORDINALITY"
    "  AS u(order_id, order_generation, order_version, order_position, rider_id, rider_generation, rider_version,"
    "   rider_position, city_snapshot, city_digest, model_digest, at_ms, body, n)"
    " CROSS JOIN (SELECT log_id FROM log_head) h ORDER BY u.n"
).bindparams(bindparam("fingerprint", type_=JSONB))
_TRIM = text(
    "DELETE FROM served_etas e USING (SELECT max(id) AS id FROM served_etas) newest"
    " WHERE e.id <= newest.id - :keep AND (e.verdict IS DISTINCT FROM 'different' OR e.id <= newest.id - 2 * :keep)"
)
_NO_PLACE: tuple[None, None, None] = (None, None, None)


def add(engine: Engine, code_digest: str, fingerprint: Mapping[str, str], etas: Sequence[ServedEta]) -> int:
    """Stores ``etas`` and returns how many. Raises PortUnavailable, SinkRejected."""
    riders: list[EtaPlace | tuple[None, None, None]] = [eta.rider or _NO_PLACE for eta in etas]
    values: dict[str, Any] = {
        "code_digest": code_digest,
        "fingerprint": dict(fingerprint),
        "order_ids": [eta.order_id for eta in etas],
        "order_generations": [eta.order.generation for eta in etas],
        "order_versions": [eta.order.version for eta in etas],
        "order_positions": [eta.order.position for eta in etas],
        "rider_ids": [eta.rider_id for eta in etas],
        "rider_generations": [rider[0] for rider in riders],
        "rider_versions": [rider[1] for rider in riders],
        "rider_positions": [rider[2] for rider in riders],
        "city_snapshots": [eta.city_snapshot for eta in etas],
        "city_digests": [eta.city_digest for eta in etas],
        "model_digests": [eta.model_digest for eta in etas],
        "times": [eta.at_ms for eta in etas],
        "bodies": [eta.body for eta in etas],
    }
    with unavailable_as_port_error(), engine.begin() as connection:
        return int(connection.execute(_ADD, values).rowcount)


def trim(engine: Engine, keep: int) -> None:
    """Deletes all but the newest ``keep``. Differences stay twice as long, as evidence. Raises PortUnavailable."""
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_TRIM, {"keep": keep})


class PostgresServedEtas:
    """The served ETAs on record. Raises PortUnavailable. The ids of a scan are in memory: the setting bounds them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self, since_ms: int) -> int:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return int(connection.execute(_COUNT, {"since_ms": since_ms}).scalar_one())

    def scan(self, since_ms: int, batch: int) -> Iterator[list[LoggedEta]]:
        # In short transactions: a long one would keep the database's dead rows for as long as the check takes.
        with unavailable_as_port_error(), self._engine.connect() as connection:
            ids = [row[0] for row in connection.exec_driver_sql(_SCAN, (since_ms,)).cursor.fetchall()]
        for first in range(0, len(ids), batch):
            # Rows that were trimmed in the meantime are missing.
            yield self._logged(_OF_IDS, (ids[first : first + batch],))

    def newest_id(self) -> int:
        """The id of the newest answer; 0 if there is none. Ids are never reused."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return int(connection.execute(_NEWEST_ID).scalar_one())

    def ids(self, since_ms: int, last_id: int) -> list[int]:
        """The ids of the answers at ``since_ms`` or later, up to ``last_id``, by city snapshot."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(_SCAN, (since_ms,)).cursor.fetchall()
        return [row[0] for row in rows if row[0] <= last_id]

    def of_ids(self, ids: Sequence[int]) -> list[LoggedEta]:
        """The answers with these ids. Those that were trimmed in the meantime are missing."""
        return self._logged(_OF_IDS, (list(ids),))

    def unchecked_of(self, snapshots: Sequence[int], limit: int) -> list[LoggedEta]:
        return self._logged(_UNCHECKED_OF, (list(snapshots), limit))

    def record(self, verdicts: Mapping[EtaVerdict, Sequence[int]]) -> None:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            for verdict, ids in verdicts.items():
                if ids:
                    decides = verdict in DECIDED
                    values = {"verdict": verdict, "ids": list(ids), "decides": decides, "decided": list(DECIDED)}
                    connection.execute(_RECORD, values)

    def mismatches(self, code_digest: str) -> int:
        """Differences on record of this code and of the generations that are read now."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return int(connection.execute(_MISMATCHES, {"code": code_digest}).scalar_one())

    def waiting(self) -> int:
        """How many are not checked yet."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return int(connection.execute(_WAITING).scalar_one())

    def tally(self, code_digest: str) -> EtaTally:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            checked, unchecked = connection.execute(_TALLY).one()
        return EtaTally(checked, unchecked, self.mismatches(code_digest))

    def _logged(self, statement: str, values: tuple[Any, ...]) -> list[LoggedEta]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [_logged(row) for row in connection.exec_driver_sql(statement, values).cursor.fetchall()]


def _logged(row: Any) -> LoggedEta:
    id_, log_id, code, fingerprint, verdict, order_id, *rest, body = row
    order_place, rider_id, rider_place, (snapshot, digest, model, at_ms) = rest[:3], rest[3], rest[4:7], rest[7:]
    rider = None if rider_place[0] is None else EtaPlace(*rider_place)
    eta = ServedEta(order_id, EtaPlace(*order_place), rider_id, rider, snapshot, digest, model, at_ms, bytes(body))
    return LoggedEta(id_, log_id, code, fingerprint, None if verdict is None else EtaVerdict(verdict), eta)
