"""Reads a sample of a day's served ETAs with what then happened, and stores and reads the findings by day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, select, text, union_all
from sqlalchemy.dialects.postgresql import insert

from infrastructure.postgres.drift_tables import eta_drift, eta_errors
from infrastructure.postgres.errors import unavailable_as_port_error
from read_models.deliveries.tables import NAME as DELIVERIES
from read_models.generations import active_generation

KEPT_DAYS = 400
"""A year and a month, so that a season can be compared with the last one."""

ENOUGH_ORDERS = 200
"""Fewer orders of a day say nothing of a model."""

MAX_NAME_CHARS = 64
"""Bounds a name of a leg or feature in a row."""


class AnsweredEta(NamedTuple):
    """One served answer. Epoch milliseconds; ``completed_ms`` None: not handed over, as far as the table knows."""

    order_id: str
    model_digest: str
    at_ms: int
    body: bytes
    completed_ms: int | None


class FeatureDrift(NamedTuple):
    """A row of ``eta_drift`` without its day."""

    model_digest: str
    feature: str
    psi: float
    chance_psi: float
    answers: int
    orders: int


class LegErrors(NamedTuple):
    """A row of ``eta_errors`` without its day. Seconds; ``p50_held``: answers whose order was there by the P50."""

    model_digest: str
    leg: str
    answers: int
    orders: int
    mae_s: float
    bias_s: float
    p50_held: int
    p90_held: int


class DriftOfDay(NamedTuple):
    """What was found for one day (UTC)."""

    day: date
    drift: list[FeatureDrift]
    errors: list[LegErrors]


# Ids follow the times of answers, except within the second in which they are written. The exact filter comes after.
_FIRST = text("SELECT id FROM served_etas WHERE at_ms >= :since ORDER BY at_ms, id LIMIT 1")
_LAST = text("SELECT id FROM served_etas WHERE at_ms < :until ORDER BY at_ms DESC, id DESC LIMIT 1")
_SAMPLE = text(
    "SELECT e.order_id, e.model_digest, e.at_ms, e.body, d.completed_at_ms FROM served_etas e"
    " LEFT JOIN deliveries d ON d.generation = :generation AND d.order_id = e.order_id"
    " WHERE e.id = ANY(:ids) AND e.at_ms >= :since AND e.at_ms < :until"
)


class PostgresEtaDrift:
    """Raises PortUnavailable while Postgres does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sample(self, since_ms: int, until_ms: int, most: int) -> list[AnsweredEta]:
        """At most ``most`` answers of that time (epoch ms, the end excluded), evenly spread over all on record."""
        times = {"since": since_ms, "until": until_ms}
        with unavailable_as_port_error(), self._engine.connect() as connection:
            first, last = (connection.execute(bound, times).scalar_one_or_none() for bound in (_FIRST, _LAST))
            generation = connection.execute(select(active_generation(DELIVERIES))).scalar_one()
            if first is None or last is None or last < first:
                return []
            ids = list(spread(first, last, most))
            rows = connection.execute(_SAMPLE, times | {"generation": generation, "ids": ids})
            return [AnsweredEta(order, model, at, bytes(body), done) for order, model, at, body, done in rows]

    def store(self, found: DriftOfDay) -> None:
        """Replace what is stored of the day, and drop days older than KEPT_DAYS before it."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            for table, rows in ((eta_drift, found.drift), (eta_errors, found.errors)):
                for row in rows:
                    _upsert(connection, table, {"day": found.day, **row._asdict()})
                connection.execute(delete(table).where(table.c.day < found.day - timedelta(days=KEPT_DAYS)))

    def newest(self, least_orders: int) -> DriftOfDay | None:
        """The newest day of which a model or leg has ``least_orders`` orders, else the newest day; None without any."""
        known = union_all(
            *(select(table.c.day, table.c.orders) for table in (eta_drift, eta_errors)),
        ).subquery()
        enough = func.max(known.c.orders) >= least_orders
        days = select(known.c.day).group_by(known.c.day).order_by(enough.desc(), known.c.day.desc())
        with unavailable_as_port_error(), self._engine.connect() as connection:
            day = connection.execute(days.limit(1)).scalar_one_or_none()
            return None if day is None else self._of(connection, day)

    def _of(self, connection: Connection, day: date) -> DriftOfDay:
        drift, errors = eta_drift.c, eta_errors.c
        shifted = select(*(drift[name] for name in FeatureDrift._fields)).where(drift.day == day)
        wrong = select(*(errors[name] for name in LegErrors._fields)).where(errors.day == day)
        return DriftOfDay(
            day,
            [FeatureDrift(*row) for row in connection.execute(shifted.order_by(drift.psi.desc(), drift.feature))],
            [LegErrors(*row) for row in connection.execute(wrong.order_by(errors.answers.desc(), errors.leg))],
        )


def spread(first: int, last: int, most: int) -> Iterator[int]:
    """At most ``most`` numbers from ``first`` to ``last``, evenly spread; all of them if they are not more."""
    count = last - first + 1
    if count <= most:
        return iter(range(first, last + 1))
    return (first + number * count // most for number in range(most))


def _upsert(connection: Connection, table: Any, row: dict[str, Any]) -> None:
    # Two processes that compute the same day at the same time both succeed; the last one's values stay.
    keys: Sequence[str] = [column.name for column in table.primary_key]
    statement = insert(table).values(row)
    values = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
