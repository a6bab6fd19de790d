"""The JSON messages of the client: pings in requests within the limits of ``POST /pings``, and the server's answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from infrastructure.errors import UserError

T = TypeVar("T")


class Rejection(msgspec.Struct, frozen=True):
    """Why one ping was not recorded. ``index`` is its place in the request, from 0."""

    index: int
    code: str
    detail: str


class PostReceipt(msgspec.Struct, frozen=True):
    """The answer to one batch: each of its pings is accepted, a duplicate or rejected.

    ``position`` is the highest log position of the accepted pings and the duplicates; None if there are none.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = []
    position: int | None = None

    def then(self, other: PostReceipt, offset: int) -> PostReceipt:
        """One receipt for two consecutive parts of a batch; ``offset`` is the number of pings before ``other``."""
        moved = [Rejection(item.index + offset, item.code, item.detail) for item in other.rejected]
        positions = [position for position in (self.position, other.position) if position is not None]
        return PostReceipt(
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            [*self.rejected, *moved],
            max(positions, default=None),
        )


class SpeedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``GET /riders/{rider_id}/speed``, in metres per second, degrees and milliseconds."""

    rider_id: str
    speed_mps: float | None
    path_speed_mps: float | None
    pings_in_window: int
    window_ms: int | None
    latitude: float | None
    longitude: float | None
    event_timestamp_ms: int | None
    version: int
    position: int
    age_ms: int | None
    status: str
    generation: int


class CommandReceipt(msgspec.Struct, frozen=True):
    """The answer to one command on a delivery. ``code`` is the domain error of a refused one, else None.

    ``recorded`` is False for a repeat of what is recorded already. ``status`` is the delivery's present one.
    """

    recorded: bool
    status: str | None = None
    code: str | None = None
    detail: str = ""


class DeliveryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``GET /deliveries/{order_id}`` that clients here need, in epoch milliseconds."""

    order_id: str
    status: str
    rider_id: str | None
    placed_at_ms: int
    completed_at_ms: int | None
    cancelled_at_ms: int | None
    position: int


class DeliveriesAnswer(msgspec.Struct, frozen=True):
    """One page of ``GET /deliveries``; ``next`` is the cursor of the next page, None on the last one."""

    items: list[DeliveryAnswer]
    next: str | None = None


class EtaMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What clients here need of ``GET /deliveries/{order_id}/eta``: seconds until hand-over, as of ``at_ms``."""

    order_id: str
    p50_seconds: float
    p90_seconds: float
    because: list[str]
    at_ms: int


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""


class _CommandAnswer(msgspec.Struct, frozen=True):
    status: str
    recorded: bool | None = None


def read_command(body: bytes, *, is_created: bool) -> CommandReceipt:
    """The receipt for an accepted command. An answer without ``recorded`` was recorded if ``is_created``.

    Raises UserError if the answer has another form.
    """
    answer = _read(body, _CommandAnswer)
    return CommandReceipt(is_created if answer.recorded is None else answer.recorded, answer.status)


def read_refusal(body: bytes) -> CommandReceipt:
    """The receipt for a refused command. Raises UserError if the answer has another form."""
    answer = _read(body, _Refusal)
    return CommandReceipt(recorded=False, code=answer.code, detail=answer.detail)


def read_delivery(body: bytes) -> DeliveryAnswer:
    """The delivery in an answer. Raises UserError if the answer has another form."""
    return _read(body, DeliveryAnswer)


def read_deliveries(body: bytes) -> DeliveriesAnswer:
    """The page in an answer. Raises UserError if the answer has another form."""
    return _read(body, DeliveriesAnswer)


def read_eta(body: bytes) -> EtaMessage:
    """The ETA in an answer. Raises UserError if the answer has another form."""
    return _read(body, EtaMessage)


def read_receipt(body: bytes, sent: int) -> PostReceipt:
    """The receipt for ``sent`` pings. Raises UserError unless it accounts for each of them."""
    receipt = _read(body, PostReceipt)
    answered = receipt.accepted + receipt.duplicates + len(receipt.rejected)
    if answered != sent or any(not 0 <= item.index < sent for item in receipt.rejected):
        raise UserError(f"the server accounts for {answered} of {sent} pings; is --url that of ridelog?")
    return receipt


def read_speed(body: bytes) -> SpeedAnswer:
    """The speed in an answer. Raises UserError if the answer has another form."""
    return _read(body, SpeedAnswer)


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise UserError(f"the server's answer is not ridelog's ({error}); is --url right?") from error


MAX_ITEMS = 10_000
MAX_BODY_BYTES = 8 * 1024 * 1024

Ping = Mapping[str, Any]

_ENCODER = msgspec.json.Encoder()


def encode(ping: Ping) -> bytes:
    """One ping as JSON. NaN and infinity are written as such, not as null, so that the server can reject them by name.

    Raises UnicodeEncodeError for text that is not valid Unicode, OverflowError for integers over 64 bits.
    """
    if any(type(value) is float and not math.isfinite(value) for value in ping.values()):
        return json.dumps(dict(ping)).encode()
    return _ENCODER.encode(ping)


def body(items: Sequence[bytes]) -> bytes:
    """The request body for encoded pings."""
    return b"[" + b",".join(items) + b"]"


def split(
    items: Sequence[bytes], max_items: int = MAX_ITEMS, max_bytes: int = MAX_BODY_BYTES
) -> Iterator[Sequence[bytes]]:
    """Split into consecutive parts whose bodies are within both limits; an item over ``max_bytes`` is its own part."""
    begin, size = 0, 2
    for index, item in enumerate(items):
        needed = len(item) + 1
        if index > begin and (index - begin == max_items or size + needed > max_bytes):
            yield items[begin:index]
            begin, size = index, 2
        size += needed
    if begin < len(items):
        yield items[begin:]
