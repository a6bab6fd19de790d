"""``/lineage``: causes and effects as links, in both directions; and the served ETAs along an order's life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final, TypeVar

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, Parameter
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.event_pages import STREAMS
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.eta_lineage import ETA_ORDER, EtaLineages
from infrastructure.http.lineage_answers import (
    AlertLineage,
    CommandLineage,
    EntryLineage,
    EtaItems,
    EtaLineage,
    EventLineage,
)
from infrastructure.http.lineage_findings import FindingLineages
from infrastructure.http.lineage_reader import EventLineages, LineageReads
from infrastructure.http.paging import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Time,
    checked_limit,
    decode_keyset,
    instant_ms,
    whole_number,
)
from infrastructure.http.time_travel import answering, in_thread
from infrastructure.postgres.served_eta_links import EtaPlaceInOrder
from infrastructure.timestamps import LATEST_MS
from projections.replay.as_of import AsOf

_READ: Final = {"role": "read"}
_READ_OR_REVIEW: Final = {"role": ("read", "review")}
"""Answers that hold links alone. The payload of an event shows where riders and customers are, which a reviewer may
only see in a case file."""
_TAGS: Final = ["lineage"]
_ERRORS: Final = errors(400, 404, 422, 503)

T = TypeVar("T")


def lineage_routes(reads: LineageReads) -> list[HTTPRouteHandler]:
    """The routes under ``/lineage``, and ``/deliveries/{order_id}/etas``."""
    events, findings, etas = EventLineages(reads), FindingLineages(reads), EtaLineages(reads.events, reads.etas)
    return [
        _event(events),
        _found(events),
        _command(events),
        _alert(findings),
        _entry(findings),
        _eta(etas),
        _etas(etas),
    ]


def _event(lineages: EventLineages) -> HTTPRouteHandler:
    @get(
        "/lineage/events/{position:str}",
        opt=_READ,
        summary="Causes and effects of an event",
        responses=_ERRORS,
        tags=_TAGS,
    )
    async def get_event_lineage(
        position: Annotated[str, Parameter(description="the event's position in the log")],
    ) -> EventLineage:
        """The event with its request, its cause, its effects, and the answers that rest on it.

        For a ping, `change` says what it changed: the rider's window and speed before and after it, folded as in
        serving, its lateness, and whether it was accepted. `etas`: the served ETAs that had it as the last event of
        the rider or order. `payouts`: entries that it made. `alerts`: those that name it.
        """
        number = whole_number("position", position)
        return await _then(number, partial(lineages.event, number))

    return get_event_lineage


def _found(lineages: EventLineages) -> HTTPRouteHandler:
    @get("/lineage/events", opt=_READ, summary="An event by its id, as by its position", responses=_ERRORS, tags=_TAGS)
    async def find_event_lineage(
        key: Annotated[str, Parameter(description="the rider or order")],
        event_id: Annotated[str, Parameter(description="the event's id, a UUID")],
        stream: Annotated[str, Parameter(description=f"the stream of the key: {' or '.join(STREAMS)}")] = STREAMS[0],
        by: Time = None,
    ) -> EventLineage:
        """The same as by position, for who knows only the id. Searched are the 5,000 latest events of the key that
        were sent to have happened by `by` (default: any time)."""
        if stream not in STREAMS:
            raise ApiError(400, "invalid_request", f"stream is {' or '.join(STREAMS)}, not {stream[:40]!r}")
        by_ms = LATEST_MS if by is None else instant_ms("by", by)
        return await _then(0, partial(lineages.found, stream, key, event_id, by_ms))

    return find_event_lineage


def _command(lineages: EventLineages) -> HTTPRouteHandler:
    @get(
        "/lineage/commands/{command_id:str}",
        opt=_READ,
        summary="The events of a command",
        responses=_ERRORS,
        tags=_TAGS,
    )
    async def get_command_lineage(
        command_id: FromPath[str],
        order_id: Annotated[str | None, Parameter(description="only the events of this order")] = None,
    ) -> CommandLineage:
        """The events that a command recorded, at most 100. One Idempotency-Key may be that of many orders' commands."""
        return await _then(None, partial(lineages.command, command_id, order_id))

    return get_command_lineage


def _alert(lineages: FindingLineages) -> HTTPRouteHandler:
    @get(
        "/lineage/alerts/{alert_id:str}",
        opt=_READ_OR_REVIEW,
        summary="The events of an alert",
        responses=_ERRORS,
        tags=_TAGS,
    )
    async def get_alert_lineage(alert_id: FromPath[str]) -> AlertLineage:
        """The events that raised and changed the alert, those that prove its signals, its window and its reviews."""
        return await _then(None, partial(lineages.alert, alert_id))

    return get_alert_lineage


def _entry(lineages: FindingLineages) -> HTTPRouteHandler:
    @get(
        "/lineage/payouts/{entry_id:str}",
        opt=_READ_OR_REVIEW,
        summary="The events of a payout",
        responses=_ERRORS,
        tags=_TAGS,
    )
    async def get_entry_lineage(entry_id: FromPath[str]) -> EntryLineage:
        """A payout or an adjustment: the event that made it, the first and last event that each of its items names,
        and `payout`: the whole payout with its adjustments."""
        return await _then(None, partial(lineages.entry, entry_id))

    return get_entry_lineage


def _eta(lineages: EtaLineages) -> HTTPRouteHandler:
    @get(
        "/lineage/etas/{eta_id:str}",
        opt=_READ,
        summary="Why an ETA differs from the one before",
        responses=_ERRORS,
        tags=_TAGS,
    )
    async def get_eta_lineage(
        eta_id: Annotated[str, Parameter(description="the `id` of an answer on record")],
    ) -> EtaLineage:
        """An answer on record with the events that it was computed from, and what differs from the one before it."""
        return await _then(None, partial(lineages.eta, whole_number("eta_id", eta_id)))

    return get_eta_lineage


def _etas(lineages: EtaLineages) -> HTTPRouteHandler:
    @get(
        "/deliveries/{order_id:str}/etas",
        opt=_READ,
        summary="The ETAs of an order that are on record",
        responses=errors(400, 503),
        tags=["deliveries"],
    )
    async def get_etas(order_id: FromPath[str], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> EtaItems:
        """The answers that were served along the order's life, with median, P90 and `because`. Only the newest answers
        of all orders are kept (`RIDELOG_SERVED_ETAS_KEEP`); the first of each leg is an event, `EtaServed`."""
        wanted, keyset = checked_limit(limit), decode_keyset(cursor, ETA_ORDER)
        after = None if keyset is None else EtaPlaceInOrder(keyset[0], whole_number("cursor", keyset[1]))
        return await _then(None, partial(lineages.etas, order_id, after, wanted))

    return get_etas


async def _then(position: int | None, work: Callable[[], T]) -> T:
    """The answer of ``work``; with a position in a thread of the reads of the past, since a replay may take long."""
    with _read_errors(), answering():
        return await in_thread(None if position is None else AsOf.at_position(position), work)


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}") from error
