"""Reads alerts and reviews from their tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from eventsourcing.persistence import PersistenceError
from sqlalchemy import Engine, Select
from sqlalchemy.exc import SQLAlchemyError

from domain.features.case_file import CaseFile, case_of
from domain.identifiers import is_event_id
from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.fraud_answers import (
    AlertAnswer,
    AlertItem,
    PlaceAnswer,
    RiderAlert,
    alert_answer,
    alert_item,
    place_answer,
    rider_alert,
)
from read_models.completion.queries import stops_at
from read_models.fraud import queries
from read_models.fraud.queries import AlertFilters, CaseSource
from read_models.generations import BY_INDEX

Row = dict[str, Any]

MAX_SEARCHED_ALERTS = 20
"""Alerts whose files are searched for one event (invariant 15). A file has evidence of before its last change, and an
alert is open for half an hour: the first alerts that changed after an event are those that can cite it."""

IsKnown = Callable[[str], bool]
"""Whether the log has an event of the rider. Raises the library's PersistenceError."""


class FraudReader:
    """Blocks: call it in a thread. ``is_known`` must be safe to call in several threads."""

    def __init__(self, engine: Engine, sources: Sequence[CaseSource], is_known: IsKnown) -> None:
        self._engine = engine
        self._sources = sources
        self._is_known = is_known

    def page(self, filters: AlertFilters, after: tuple[datetime, str] | None, limit: int) -> list[AlertItem]:
        """Alerts by (raised_at, alert_id), from the one after ``after``. Raises ApiError (503)."""
        return [alert_item(row) for row in self._alerts(filters, after, limit)]

    def one(self, alert_id: str) -> AlertAnswer:
        """Raises ApiError: 404, there is no such alert; 503."""
        row = self._row(alert_id)
        case = case_of(row["file"])
        return alert_answer(case, row, self._reviews([row["alert_id"]])[row["alert_id"]], self._place(case))

    def rider_of(self, alert_id: str) -> tuple[str, str]:
        """The alert's id as it is recorded, and its rider. Raises ApiError: 404, there is no such alert; 503."""
        row = self._row(alert_id)
        return row["alert_id"], row["rider_id"]

    def of_rider(self, rider_id: str, after: tuple[datetime, str] | None, limit: int) -> list[RiderAlert]:
        """The rider's alerts with their reviews, as ``page`` has them. Raises ApiError: 404, unknown rider; 503."""
        if not _is_storable(rider_id):
            raise unknown_rider(rider_id)
        rows = self._alerts(AlertFilters(rider_id=rider_id), after, limit)
        if not rows:
            self._check_known(rider_id)
            return []
        reviews = self._reviews([row["alert_id"] for row in rows])
        return [rider_alert(row, reviews[row["alert_id"]]) for row in rows]

    def citing(self, rider_id: str, event_id: str, position: int) -> list[tuple[Row, CaseFile]]:
        """The alerts of a rider whose file names an event, as evidence or in its window, or that the event raised.

        Of the alerts that changed at ``position`` or later, the first MAX_SEARCHED_ALERTS are read. Raises ApiError.
        """
        if not _is_storable(rider_id):
            return []
        query = queries.of_rider_from(self._sources, rider_id, position, MAX_SEARCHED_ALERTS)
        files = [(row, case_of(row["file"])) for row in self._rows(query, by_index=True)]
        return [(row, case) for row, case in files if _cites(case, event_id, position)]

    def case(self, alert_id: str) -> tuple[Row, CaseFile, list[Row]]:
        """An alert's row, its file and its reviews. Raises ApiError: 404, there is no such alert; 503."""
        row = self._row(alert_id)
        return row, case_of(row["file"]), self._reviews([row["alert_id"]])[row["alert_id"]]

    def _alerts(self, filters: AlertFilters, after: tuple[datetime, str] | None, limit: int) -> list[Row]:
        if filters.rider_id is not None and not _is_storable(filters.rider_id):
            return []
        return self._rows(queries.page(self._sources, filters, after, limit), by_index=True)

    def _row(self, alert_id: str) -> Row:
        # Every alert has a UUID, in lower case.
        if is_event_id(alert_id):
            found = self._rows(queries.one(self._sources, alert_id.lower()))
            if found:
                return found[0]
        raise ApiError(404, "unknown_alert", f"there is no alert {alert_id[:64]!r}")

    def _place(self, case: CaseFile) -> PlaceAnswer | None:
        """What other riders did at the place of the case: a fold reads one rider, so it cannot be in the file."""
        measured = dict(case.signals[0].measured) if case.signals else {}
        place = measured.get("place")
        if case.leg is None or not isinstance(place, str):
            return None
        return place_answer(place, self._rows(stops_at(place, case.leg))[0])

    def _reviews(self, alert_ids: Sequence[str]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self._rows(queries.reviews(alert_ids)):
            found[row["alert_id"]].append(row)
        return found

    def _check_known(self, rider_id: str) -> None:
        try:
            is_known = self._is_known(rider_id)
        except PersistenceError as error:
            raise unavailable("event_store_unavailable", f"the event store is unavailable: {error}") from error
        if not is_known:
            raise unknown_rider(rider_id)

    def _rows(self, query: Select[Any], *, by_index: bool = False) -> list[Row]:
        try:
            with self._engine.connect() as connection:
                if by_index:
                    connection.execute(BY_INDEX)
                return [row._asdict() for row in connection.execute(query)]
        except SQLAlchemyError as error:
            raise unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}") from error


def _cites(case: CaseFile, event_id: str, position: int) -> bool:
    plain = event_id.replace("-", "")
    return (
        position in {case.position, case.raised_position}
        or any(fix.position == position for fix in case.window)
        or any(plain == one.replace("-", "") for signal in case.signals for one in signal.evidence)
    )


def unknown_rider(rider_id: str) -> ApiError:
    return ApiError(404, "unknown_rider", f"the log has no event of a rider {rider_id[:128]!r}")


def _is_storable(text: str) -> bool:
    """Whether Postgres can take the text: no NUL, no lone surrogate. No recorded rider has one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
