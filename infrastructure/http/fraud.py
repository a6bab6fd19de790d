"""``/fraud``: alerts with their evidence, reviews by people, and what a rider may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Protocol

from litestar import Request, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, Parameter

from domain.riders.commands import ReviewAlert
from domain.timestamps import utc_datetime
from infrastructure.http.command_body import text, text_or_none, time_or_none
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.fraud_answers import (
    AlertAnswer,
    AlertItem,
    AlertsPage,
    ReviewAnswer,
    RiderAlert,
    RiderFraudPage,
)
from infrastructure.http.fraud_operations import ReviewOperation
from infrastructure.http.paging import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Time,
    checked_limit,
    decode_keyset,
    encode_keyset,
    instant,
)
from infrastructure.http.rider_commands import RiderCommandRequests
from read_models.fraud.queries import STATUSES, AlertFilters

_READ: Final = {"role": ("read", "review")}
_REVIEW: Final = {"role": "review"}
_ORDER: Final = "raised_at/alert_id"
"""The order of a list, which its cursors name."""

MAX_CURSOR_MS: Final = 253_402_300_799_999
"""The last instant that Postgres and Python both have, of the year 9999."""


class FraudReads(Protocol):
    """Reads alerts and reviews. Blocks; safe to call in several threads. Raises ApiError."""

    def page(self, filters: AlertFilters, after: tuple[datetime, str] | None, limit: int) -> list[AlertItem]:
        """Alerts by (raised_at, alert_id), from the one after ``after``."""
        ...

    def one(self, alert_id: str) -> AlertAnswer:
        """404 for an unknown alert."""
        ...

    def rider_of(self, alert_id: str) -> tuple[str, str]:
        """The alert's id as it is recorded, and its rider. 404 for an unknown alert."""
        ...

    def of_rider(self, rider_id: str, after: tuple[datetime, str] | None, limit: int) -> list[RiderAlert]:
        """The rider's alerts with their reviews. 404 for an unknown rider."""
        ...


def fraud_routes(reader: FraudReads, commands: RiderCommandRequests) -> list[Router | HTTPRouteHandler]:
    """Everything under ``/fraud``, and ``/riders/{rider_id}/fraud``."""
    handlers = [_list(reader), _one(reader), _review(reader, commands)]
    return [Router("/fraud", route_handlers=handlers, tags=["fraud"]), _of_rider(reader)]


def _list(reader: FraudReads) -> HTTPRouteHandler:
    @get("/alerts", opt=_READ, sync_to_thread=True, summary="Alerts, as they were raised", responses=errors(400, 503))
    def get_alerts(
        status: Annotated[
            str | None,
            Parameter(description="open, or the verdict of the latest review", schema_extra={"enum": list(STATUSES)}),
        ] = None,
        rider_id: Annotated[str | None, Parameter(description="only alerts about this rider")] = None,
        since: Time = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> AlertsPage:
        """By the time of raising, the oldest first; raised at `since` or later. Nothing follows from an alert alone."""
        if status is not None and status not in STATUSES:
            raise ApiError(400, "invalid_status", f"status is one of {', '.join(STATUSES)}")
        filters = AlertFilters(status, rider_id, instant("since", since))
        wanted = checked_limit(limit)
        found = reader.page(filters, _decoded(cursor), wanted + 1)
        return AlertsPage(found[:wanted], _following(found, wanted))

    return get_alerts


def _one(reader: FraudReads) -> HTTPRouteHandler:
    @get(
        "/alerts/{alert_id:str}",
        opt=_READ,
        sync_to_thread=True,
        summary="One alert with its evidence",
        responses=errors(400, 404, 503),
    )
    def get_alert(alert_id: FromPath[str]) -> AlertAnswer:
        """The signals with their numbers and the ids of the events that prove them, a sentence for each and what would
        have cleared it, the window of pings as it was, and the reviews. `replay` prints the same file from the log."""
        return reader.one(alert_id)

    return get_alert


def _review(reader: FraudReads, commands: RiderCommandRequests) -> HTTPRouteHandler:
    @post(
        "/alerts/{alert_id:str}/review",
        opt=_REVIEW,
        status_code=200,
        operation_class=ReviewOperation,
        operation_id="review_alert",
        summary="Decide about an alert",
        responses=errors(400, 404, 408, 409, 413, 415, 503),
    )
    async def review_alert(request: Request[Any, Any, Any], alert_id: FromPath[str]) -> ReviewAnswer:
        """Records the verdict on the rider's stream, with who decided and why, and answers after the commit. A repeat
        of the latest review of this alert, or of an Idempotency-Key, is not recorded again: `recorded` is then false.

        Nothing follows from a verdict by itself."""
        recorded_id, rider_id = await sync_to_thread(reader.rider_of, alert_id)
        verdict = ""

        def parse(item: Mapping[str, Any], key: str | None, received_ms: int) -> ReviewAlert:
            nonlocal verdict
            verdict = text(item, "verdict")
            return ReviewAlert(
                rider_id=rider_id,
                alert_id=recorded_id,
                verdict=verdict,
                by=text(item, "by"),
                why=text(item, "why"),
                at_ms=time_or_none(item, "at"),
                source_service=text_or_none(item, "source_service"),
                received_ms=received_ms,
                command_id=key,
            )

        outcome = await commands.run(request, ReviewAlert.VERB, parse)
        return ReviewAnswer(recorded_id, rider_id, verdict, outcome.recorded, outcome.position)

    return review_alert


def _of_rider(reader: FraudReads) -> HTTPRouteHandler:
    @get(
        "/riders/{rider_id:str}/fraud",
        opt=_READ,
        sync_to_thread=True,
        summary="The alerts about a rider, in words for the rider",
        responses=errors(400, 404, 503),
        tags=["fraud"],
    )
    def get_rider_fraud(rider_id: FromPath[str], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> RiderFraudPage:
        """The reasons of each alert about the rider, what would have cleared them, and the reviews with their reasons,
        in words for the rider. The oldest alert first."""
        wanted = checked_limit(limit)
        found = reader.of_rider(rider_id, _decoded(cursor), wanted + 1)
        return RiderFraudPage(rider_id, found[:wanted], _following(found, wanted))

    return get_rider_fraud


def _following(found: Sequence[AlertItem | RiderAlert], wanted: int) -> str | None:
    if len(found) <= wanted:
        return None
    last = found[wanted - 1]
    return encode_keyset(last.raised_at_ms, last.alert_id, _ORDER)


def _decoded(cursor: str | None) -> tuple[datetime, str] | None:
    after = decode_keyset(cursor, _ORDER)
    if after is None:
        return None
    raised_ms, alert_id = after
    if not 0 <= raised_ms <= MAX_CURSOR_MS:
        raise ApiError(400, "invalid_cursor", "send the cursor exactly as `next` of the page before gave it")
    return utc_datetime(raised_ms), alert_id
