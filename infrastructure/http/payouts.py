"""``/payouts`` and ``/riders/{rider_id}/statement``: what riders are paid, and the closing of a week."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, Parameter
from sqlalchemy.exc import SQLAlchemyError

from domain.deliveries.values import check_currency
from domain.errors import InvalidCurrency, InvalidPeriod
from domain.riders.commands import CloseStatement
from domain.riders.periods import check_period
from domain.timestamps import utc_datetime
from infrastructure.http.command_body import text, text_or_none, time_or_none
from infrastructure.http.errors import ApiError, errors, unavailable
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
from infrastructure.http.payout_operations import CloseOperation
from infrastructure.http.rider_commands import RiderCommandRequests
from infrastructure.postgres.payout_reads import PayoutReads, StatementTooLong
from projections.core.state_codec import BrokenState
from read_models.payouts.queries import PayoutFilters
from read_models.payouts.statement import statement

_READ: Final = {"role": ("read", "review")}
_ORDER: Final = "ended_at_ms/payout_id"

Period = Annotated[str, Parameter(description="an ISO week in UTC, such as 2026-W48")]
Currency = Annotated[str | None, Parameter(description="ISO 4217, such as EUR: only this currency")]


class ClosedAnswer(msgspec.Struct):
    """A closed statement. ``recorded`` is false for a repeat; ``position`` is that of the event, null for a repeat."""

    rider_id: str
    period: str
    currency: str
    recorded: bool
    position: int | None


def payout_routes(reads: PayoutReads, commands: RiderCommandRequests) -> list[Router | HTTPRouteHandler]:
    """Payouts, statements, and the closing of a statement."""
    return [_payouts(reads), _statement(reads), _close(commands)]


def _payouts(reads: PayoutReads) -> HTTPRouteHandler:
    @get(
        "/payouts",
        opt=_READ,
        sync_to_thread=True,
        summary="Payouts, each with its adjustments and net amount",
        responses=errors(400, 503),
        tags=["payouts"],
    )
    def get_payouts(
        rider_id: Annotated[str | None, Parameter(description="only payouts of this rider")] = None,
        order_id: Annotated[str | None, Parameter(description="only payouts of this order")] = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """By the end of the leg, the oldest first; ended at `since` or later, before `until`. Amounts are integers in
        the minor unit of the currency, and texts in its major unit."""
        filters = PayoutFilters(rider_id, order_id, instant("since", since), instant("until", until))
        wanted, keyset = checked_limit(limit), decode_keyset(cursor, _ORDER)
        after = None if keyset is None else (_moment(keyset[0]), keyset[1])
        with _read_errors():
            found = reads.page(filters, after, wanted + 1)
        last = found[wanted - 1] if len(found) > wanted else None
        following = None if last is None else encode_keyset(last["ended_at_ms"], last["payout_id"], _ORDER)
        return {"items": found[:wanted], "next": following}

    return get_payouts


def _statement(reads: PayoutReads) -> HTTPRouteHandler:
    @get(
        "/riders/{rider_id:str}/statement",
        opt=_READ,
        sync_to_thread=True,
        summary="What a rider is paid for one week",
        responses=errors(400, 404, 422, 503),
        tags=["payouts"],
    )
    def get_statement(rider_id: FromPath[str], period: Period, currency: Currency = None) -> dict[str, Any]:
        """Every payout and adjustment of the week, each item with the events that it comes from, and the totals by
        currency. `status` is `closed` once a person has closed the week: what changes after goes to the next open
        one."""
        try:
            check_period(period)
            if currency is not None:
                check_currency(currency)
        except (InvalidPeriod, InvalidCurrency) as error:
            raise ApiError(400, error.code, str(error)) from error
        with _read_errors():
            read = reads.statement(rider_id, period)
        if read.state is None:
            raise ApiError(404, "unknown_rider", "no event of this rider is in the payouts yet")
        return statement(rider_id, period, read, currency)

    return get_statement


def _close(commands: RiderCommandRequests) -> HTTPRouteHandler:
    @post(
        "/riders/{rider_id:str}/statement",
        opt={"role": "admin"},
        status_code=200,
        operation_class=CloseOperation,
        operation_id="close_statement",
        summary="Close a rider's statements up to a week",
        responses=errors(400, 404, 408, 409, 413, 415, 503),
        tags=["payouts"],
    )
    async def close_statement(request: Request[Any, Any, Any], rider_id: FromPath[str]) -> ClosedAnswer:
        """Records the closing on the rider's stream and answers after the commit. Closing a week closes every earlier
        one of the currency too. Only a week that is over can be closed, and only once: 409 `period_open` or
        `statement_closed`."""
        closed = ("", "")

        def parse(item: Mapping[str, Any], key: str | None, received_ms: int) -> CloseStatement:
            nonlocal closed
            closed = text(item, "period"), text(item, "currency")
            return CloseStatement(
                rider_id=rider_id,
                period=closed[0],
                currency=closed[1],
                by=text(item, "by"),
                at_ms=time_or_none(item, "at"),
                source_service=text_or_none(item, "source_service"),
                received_ms=received_ms,
                command_id=key,
            )

        outcome = await commands.run(request, CloseStatement.VERB, parse)
        return ClosedAnswer(rider_id, *closed, outcome.recorded, outcome.position)

    return close_statement


def _moment(ms: int) -> Any:
    try:
        return utc_datetime(ms)
    except (ValueError, OverflowError) as error:
        raise ApiError(400, "invalid_cursor", "send the cursor exactly as `next` of the page before gave it") from error


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except StatementTooLong as error:
        raise ApiError(422, "too_long", f"{error}: use the command `statement`") from error
    except BrokenState as error:
        raise unavailable("read_model_unavailable", str(error)) from error
    except SQLAlchemyError as error:
        raise unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}") from error
