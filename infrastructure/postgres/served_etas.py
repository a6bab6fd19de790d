"""Stores served ETAs in Postgres. Only the newest are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.expression import bindparam

from infrastructure.postgres.errors import unavailable_as_port_error
from projections.parity.served_etas import EtaPlace, ServedEta

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
_TRIM = text("DELETE FROM served_etas WHERE id <= (SELECT max(id) FROM served_etas) - :keep")
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
    """Deletes all but the newest ``keep``. Raises PortUnavailable."""
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_TRIM, {"keep": keep})
