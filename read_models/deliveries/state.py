"""Encodes the state of one delivery, as bytes from which its next event is folded."""

from __future__ import annotations

import struct

from domain.features.delivery_row import DeliveryRow

_FORMAT = 1
_STATUSES = ("", "placed", "assigned", "picked_up", "arrived", "completed", "cancelled")
"""The position in this list is stored: append only."""

_HEAD = struct.Struct(">BBHqqddddq")
_NUMBERS = struct.Struct(">8q")
_LENGTH = struct.Struct(">H")
_PLACED_AT = 11
"""Where the last number that is always known is in a ``DeliveryRow``; the 8 after it may be None."""
_HAS_RIDER = 1 << _NUMBERS.size // 8


class UnreadableDeliveryState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: DeliveryRow) -> bytes:
    """A head of 60 bytes, 8 numbers that may be unknown, and 4 texts; equal states give equal bytes (invariant 8).

    Big-endian. A bit of the head says whether a number or the rider is known, since each value of a number may be one.
    """
    numbers = state[_PLACED_AT + 1 :]
    known = sum(1 << bit for bit, number in enumerate(numbers) if number is not None)
    if state.rider_id is not None:
        known |= _HAS_RIDER
    places = (
        state.restaurant_latitude,
        state.restaurant_longitude,
        state.customer_latitude,
        state.customer_longitude,
    )
    status = _STATUSES.index(state.status)
    head = _HEAD.pack(_FORMAT, status, known, state.version, state.position, *places, state.placed_at_ms)
    texts = [text.encode() for text in (state.rider_id or "", state.city, state.time_zone, state.currency)]
    return b"".join(
        [head, _NUMBERS.pack(*(number or 0 for number in numbers)), *(_LENGTH.pack(len(t)) + t for t in texts)]
    )


def decode(data: bytes) -> DeliveryRow:
    """The state that ``encode`` was given. Raises UnreadableDeliveryState."""
    try:
        form, status, known, version, position, *places, placed_at_ms = _HEAD.unpack_from(data)
        stored = _NUMBERS.unpack_from(data, _HEAD.size)
        rider_id, city, time_zone, currency = _texts(data, _HEAD.size + _NUMBERS.size)
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableDeliveryState(f"{len(data)} bytes that are no delivery: {error}") from error
    if form != _FORMAT or status >= len(_STATUSES):
        raise UnreadableDeliveryState(f"{len(data)} bytes that are no delivery of format {_FORMAT}")
    numbers = [number if known >> bit & 1 else None for bit, number in enumerate(stored)]
    rider = rider_id if known & _HAS_RIDER else None
    texts = (city, time_zone, currency)
    return DeliveryRow._make(
        (version, position, _STATUSES[status], rider, *places, *texts, placed_at_ms, *numbers),
    )


def _texts(data: bytes, start: int) -> list[str]:
    """The 4 texts that end the bytes. Raises struct.error if they do not end there."""
    found: list[str] = []
    for _ in range(4):
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        found.append(data[start : start + length].decode())
        start += length
    if start != len(data):
        raise struct.error(f"the texts end at byte {start}")
    return found
