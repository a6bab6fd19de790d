"""Records the commands of people on riders: reviews of alerts, closed statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from litestar import Request

from domain.errors import (
    DomainError,
    IdempotencyConflict,
    StatementAlreadyClosed,
    StatementPeriodOpen,
    UnknownRider,
)
from domain.riders.command_service import RiderCommandOutcome
from domain.riders.commands import RiderCommand
from infrastructure.http.command_body import MAX_BODY_BYTES, decode_object, idempotency_key
from infrastructure.http.errors import ApiError
from infrastructure.http.request_body import read_body
from infrastructure.http.unrecorded import unrecorded_as_api_error
from infrastructure.timestamps import now_ms

_STATUS: Final[dict[type[DomainError], int]] = {
    UnknownRider: 404,
    IdempotencyConflict: 409,
    StatementAlreadyClosed: 409,
    StatementPeriodOpen: 409,
}
"""Of the errors that a recorded rider decides. Every other one is of the request itself: 400."""

ParseBody = Callable[[Mapping[str, Any], str | None, int], RiderCommand]
"""From the body, the Idempotency-Key and the reception (epoch milliseconds) to the command. Raises DomainError."""

OnRiderCommand = Callable[[str, str], None]
"""Called for each command with its verb and its outcome: ``recorded``, ``repeated``, or the code of the error."""


class SubmitRiderCommands(Protocol):
    async def __call__(self, commands: Sequence[RiderCommand], /) -> list[RiderCommandOutcome]: ...


class RiderCommandRequests:
    """Parses and records the command of one request."""

    def __init__(self, submit: SubmitRiderCommands, on_command: OnRiderCommand) -> None:
        self._submit = submit
        self._on_command = on_command

    async def run(self, request: Request[Any, Any, Any], verb: str, parse: ParseBody) -> RiderCommandOutcome:
        """The outcome of a command that was recorded, now or before. Raises ApiError for every refusal."""
        try:
            outcome = await self._recorded(request, parse)
        except ApiError as error:
            self._on_command(verb, error.code)
            raise
        self._on_command(verb, "recorded" if outcome.recorded else "repeated")
        return outcome

    async def _recorded(self, request: Request[Any, Any, Any], parse: ParseBody) -> RiderCommandOutcome:
        body = await read_body(request, MAX_BODY_BYTES)
        received_ms = now_ms()
        try:
            key = idempotency_key([value for name, value in request.scope["headers"] if name == b"idempotency-key"])
            command = parse(decode_object(body), key, received_ms)
            command.check()
        except DomainError as error:
            raise refusal(error) from error
        with unrecorded_as_api_error():
            (outcome,) = await self._submit([command])
        if outcome.rejection is not None:
            raise refusal(outcome.rejection)
        return outcome


def refusal(error: DomainError) -> ApiError:
    """The response for a command that was refused."""
    return ApiError(_STATUS.get(type(error), 400), error.code, str(error))
