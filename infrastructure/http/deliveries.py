"""``/deliveries``: the commands of dispatchers, one delivery, and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol

from litestar import Request, Response, Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, Parameter

from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.values import DeliverySnapshot, DeliveryStatus
from domain.errors import DomainError
from infrastructure.http.command_body import MAX_BODY_BYTES, decode_object, idempotency_key
from infrastructure.http.delivery_answers import (
    CommandAnswer,
    DeliveriesPage,
    DeliveryDetail,
    of_command,
    refusal,
)
from infrastructure.http.delivery_body import STEPS, parse_place, parse_step
from infrastructure.http.delivery_operations import OPERATIONS, PlaceOperation
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.paging import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Time,
    checked_limit,
    decode_keyset,
    encode_keyset,
    instant_ms,
)
from infrastructure.http.request_body import read_body
from infrastructure.http.unrecorded import unrecorded_as_api_error
from infrastructure.timestamps import now_ms
from read_models.deliveries.queries import Filters

_DISPATCH: Final = {"role": "dispatch"}
_READ: Final = {"role": "read"}
_STATUSES: Final = [status.value for status in DeliveryStatus]
_ORDER: Final = "placed_at_ms/order_id"
"""The order of a list, which its cursors name."""

_SUMMARIES: Final = {
    "assign": "A rider takes the order",
    "unassign": "The rider is taken off the order, before pick-up",
    "pickup": "The rider has the order",
    "arrive": "The rider is at the customer",
    "complete": "The customer has the order",
    "cancel": "The order will not be delivered",
}

OnCommand = Callable[[str, str], None]
"""Called for each command with its verb and its outcome: ``recorded``, ``repeated``, or the code of the error."""


class DeliveryReads(Protocol):
    """Reads deliveries. Blocks; safe to call in several threads."""

    def detail(self, order_id: str) -> DeliveryDetail:
        """The delivery and the completion of its legs. Raises ApiError, 404 for an unknown order."""
        ...

    def page(self, filters: Filters, after: tuple[int, str] | None, limit: int) -> list[DeliverySnapshot]:
        """Orders by (placed_at_ms, order_id), from the one after ``after``. Raises ApiError."""
        ...


class SubmitCommands(Protocol):
    async def __call__(self, commands: Sequence[DeliveryCommand], /) -> list[CommandOutcome]: ...


def deliveries_router(
    submit: SubmitCommands, reader: DeliveryReads, on_command: OnCommand, *further: HTTPRouteHandler
) -> Router:
    """Everything under ``/deliveries``; ``further``: routes of other modules with the same path."""
    commands = _Commands(submit, on_command)
    handlers = [_place(commands), *(_step(verb, commands) for verb in STEPS), _one(reader), _list(reader), *further]
    return Router("/deliveries", route_handlers=handlers, tags=["deliveries"])


class _Commands:
    """Parses and records the command of one request."""

    def __init__(self, submit: SubmitCommands, on_command: OnCommand) -> None:
        self._submit = submit
        self._on_command = on_command

    async def run(self, request: Request[Any, Any, Any], verb: str, order_id: str | None) -> CommandOutcome:
        """The outcome, which has a delivery. Raises ApiError for every refusal, in the order of the contract."""
        try:
            outcome = await self._recorded(request, verb, order_id)
        except ApiError as error:
            self._on_command(verb, error.code)
            raise
        self._on_command(verb, "recorded" if outcome.recorded else "repeated")
        return outcome

    async def _recorded(self, request: Request[Any, Any, Any], verb: str, order_id: str | None) -> CommandOutcome:
        body = await read_body(request, MAX_BODY_BYTES)
        received_ms = now_ms()
        headers = request.scope["headers"]
        try:
            key = idempotency_key([value for name, value in headers if name == b"idempotency-key"])
            item = decode_object(body)
            if order_id is None:
                command: DeliveryCommand = parse_place(item, key, received_ms)
            else:
                command = parse_step(verb, order_id, item, key, received_ms)
        except DomainError as error:
            raise refusal(error) from error
        (outcome,) = await self._submitted(command)
        if outcome.rejection is not None:
            raise refusal(outcome.rejection)
        return outcome

    async def _submitted(self, command: DeliveryCommand) -> list[CommandOutcome]:
        with unrecorded_as_api_error():
            return await self._submit([command])


def _place(commands: _Commands) -> HTTPRouteHandler:
    @post(
        "/",
        opt=_DISPATCH,
        status_code=201,
        operation_class=PlaceOperation,
        summary="Place an order",
        responses={200: ResponseSpec(DeliverySnapshot, description="it was placed before", generate_examples=False)}
        | errors(400, 408, 409, 413, 415, 503),
    )
    async def place_order(request: Request[Any, Any, Any]) -> Response[DeliverySnapshot]:
        """Answers after the commit: 201, or 200 for the same order again. Only fields that are sent are compared."""
        outcome = await commands.run(request, "place", None)
        assert outcome.delivery is not None
        return Response(outcome.delivery, status_code=201 if outcome.recorded else 200)

    return place_order


def _step(verb: str, commands: _Commands) -> HTTPRouteHandler:
    async def step(request: Request[Any, Any, Any], order_id: FromPath[str]) -> CommandAnswer:
        """Answers after the commit, with the delivery as it is now. A repeat, by its content or its key, is not
        recorded again: `recorded` is then false.

        `at` says when it happened, by default now. It may be earlier than the stage before it."""
        outcome = await commands.run(request, verb, order_id)
        assert outcome.delivery is not None
        return of_command(outcome.delivery, recorded=outcome.recorded)

    step.__name__ = f"{verb}_order"
    return post(
        f"/{{order_id:str}}/{verb}",
        opt=_DISPATCH,
        status_code=200,
        operation_class=OPERATIONS[verb],
        operation_id=f"{verb}_order",
        summary=_SUMMARIES[verb],
        responses=errors(400, 404, 408, 409, 413, 415, 503),
    )(step)


def _one(reader: DeliveryReads) -> HTTPRouteHandler:
    @get("/{order_id:str}", opt=_READ, sync_to_thread=True, summary="One delivery", responses=errors(400, 404, 503))
    def get_delivery(order_id: FromPath[str]) -> DeliveryDetail:
        """The delivery with everything that was recorded before this request. `completion` says how each leg was
        completed, by the rider's pings and by the button; it may be a moment behind, and null before a leg began."""
        return reader.detail(order_id)

    return get_delivery


def _list(reader: DeliveryReads) -> HTTPRouteHandler:
    @get("/", opt=_READ, sync_to_thread=True, summary="Deliveries, as they were placed", responses=errors(400, 503))
    def get_deliveries(
        status: Annotated[
            str | None, Parameter(description="only deliveries in this status", schema_extra={"enum": _STATUSES})
        ] = None,
        rider_id: Annotated[str | None, Parameter(description="only deliveries of this rider")] = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> DeliveriesPage:
        """By the time of placing, the oldest first; placed at `since` or later, before `until`. A command that was just
        answered is here a moment later."""
        if status is not None and status not in _STATUSES:
            raise ApiError(400, "invalid_status", f"status is one of {', '.join(_STATUSES)}")
        filters = Filters(
            status,
            rider_id,
            None if since is None else instant_ms("since", since),
            None if until is None else instant_ms("until", until),
        )
        wanted = checked_limit(limit)
        found = reader.page(filters, decode_keyset(cursor, _ORDER), wanted + 1)
        last = found[wanted - 1] if len(found) > wanted else None
        following = None if last is None else encode_keyset(last.placed_at_ms, last.order_id, _ORDER)
        return DeliveriesPage(found[:wanted], following)

    return get_deliveries
