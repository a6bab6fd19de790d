"""The table of what serving and shadow answered, and its comparison with what then happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, text

from infrastructure.eta_models.shadow import ShadowAnswer
from infrastructure.postgres.errors import unavailable_as_port_error

KEEP_ROWS = 1_000_000
"""The newest answers of shadows that stay, about 250 bytes each."""

_COLUMNS = ", ".join(ShadowAnswer._fields)
_ADD = text(
    f"INSERT INTO shadow_etas ({_COLUMNS})"  # noqa: S608
    f" VALUES ({', '.join(f':{name}' for name in ShadowAnswer._fields)})"
)
_TRIM = text("DELETE FROM shadow_etas WHERE id <= (SELECT max(id) FROM shadow_etas) - :keep")
_COUNT = text("SELECT count(*) FROM shadow_etas WHERE shadow_digest = :shadow")
# The hand-over as the table of deliveries has it: orders that are not completed have no part in the comparison.
_COMPARE = text(
    "WITH ended AS (SELECT s.*, (d.completed_at_ms - s.at_ms) / 1000.0 AS truth_s"
    "  FROM shadow_etas s JOIN deliveries d ON d.order_id = s.order_id"
    "  JOIN projection_generations g ON g.projection = 'deliveries' AND g.active AND g.generation = d.generation"
    "  WHERE s.shadow_digest = :shadow AND d.status = 'completed' AND d.completed_at_ms >= s.at_ms)"
    " SELECT serving_digest, coalesce(leg, 'all'), count(*), count(DISTINCT order_id),"
    "  avg(abs(serving_p50_s - truth_s)), avg(abs(shadow_p50_s - truth_s)),"
    "  avg((truth_s <= serving_p90_s)::int), avg((truth_s <= shadow_p90_s)::int),"
    "  avg(abs(shadow_p50_s - serving_p50_s)), avg(outside_training::int)"
    " FROM ended GROUP BY GROUPING SETS ((serving_digest), (serving_digest, leg))"
    " ORDER BY max(max(id)) OVER (PARTITION BY serving_digest) DESC, leg NULLS FIRST"
)


class ShadowComparison(NamedTuple):
    """Of one leg, or of all, beside one serving model: its digest.

    Seconds, and shares of 1; ``difference_s``: mean distance of the two medians.
    """

    serving_digest: str
    leg: str
    answers: int
    orders: int
    serving_mae_s: float
    shadow_mae_s: float
    serving_coverage_90: float
    shadow_coverage_90: float
    difference_s: float
    outside_training: float


class ShadowTable:
    """Raises PortUnavailable, SinkRejected."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, answers: Sequence[ShadowAnswer]) -> None:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_ADD, [answer._asdict() for answer in answers])

    def trim(self, keep: int = KEEP_ROWS) -> None:
        """Delete all but the newest."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_TRIM, {"keep": keep})

    def count(self, shadow: str) -> int:
        """Answers of a shadow on record."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return int(connection.execute(_COUNT, {"shadow": shadow}).scalar_one())

    def compare(self, shadow: str) -> list[ShadowComparison]:
        """Both models against the hand-overs that are known, over all legs first. Empty without any.

        By the model that served, the latest first: the errors of two serving models are never in one mean.
        """
        with unavailable_as_port_error(), self._engine.connect() as connection:
            rows = connection.execute(_COMPARE, {"shadow": shadow}).all()
        return [
            ShadowComparison(serving, leg, count, orders, *map(float, rest))
            for serving, leg, count, orders, *rest in rows
        ]
