"""Encodes the state of an order; the sums of its restaurant's cell are in the partial tables."""

from __future__ import annotations

import struct

from domain.features.orders import CANCELLED, COMPLETED, OPEN_STATUSES, OrderState

NAME = "orders"
_FORMAT = 2
_HEAD = struct.Struct(">BqqBddddqqqqqqqqqqIHHH")
_STATUSES = ("", *OPEN_STATUSES, COMPLETED, CANCELLED)
_STATUS_BYTE = {status: byte for byte, status in enumerate(_STATUSES)}
_NULL = -1
"""Marks an unknown number: times and seconds are not negative."""


class UnreadableOrderState(Exception):
    """The bytes were not written by this version of the read model."""


class UnwritableOrderState(Exception):
    """A number of the state is negative: no order has that, and its bytes would mean unknown."""


def encode(state: OrderState) -> bytes:
    """A head of 144 bytes, then rider id, time zone and city in UTF-8; equal states give equal bytes (invariant 8).

    Raises UnwritableOrderState.
    """
    rider = b"" if state.rider_id is None else state.rider_id.encode()
    zone, city = state.time_zone.encode(), state.city.encode()
    head = _HEAD.pack(
        _FORMAT,
        state.version,
        state.position,
        _STATUS_BYTE[state.status],
        *state.restaurant,
        *state.customer,
        _known(state.placed_ms),
        _number(state.assigned_ms),
        _number(state.picked_up_ms),
        _number(state.arrived_ms),
        _number(state.completed_ms),
        _number(state.cancelled_ms),
        _known(state.latest_step_ms),
        _number(state.preparation_seconds),
        _number(state.promised_seconds),
        _number(state.items),
        state.assignments,
        len(rider),
        len(zone),
        len(city),
    )
    return head + rider + zone + city


def decode(data: bytes) -> OrderState:
    """The state that ``encode`` was given. Raises UnreadableOrderState."""
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableOrderState(f"{len(data)} bytes that are no order state of format {_FORMAT}")
    _, version, position, status, *rest = _HEAD.unpack_from(data)
    *places, placed, assigned, picked_up, arrived, completed, cancelled, step = rest[:11]
    preparation, promised, items, assignments, rider, zone, city = rest[11:]
    if len(data) != _HEAD.size + rider + zone + city or status >= len(_STATUSES):
        raise UnreadableOrderState(f"an order state of status {status} cannot have {len(data)} bytes")
    strings = data[_HEAD.size :]
    try:
        rider_id, time_zone = strings[:rider].decode() or None, strings[rider : rider + zone].decode()
        city_name = strings[rider + zone :].decode()
    except UnicodeDecodeError as error:
        raise UnreadableOrderState(f"an order state with text that is not UTF-8: {error}") from error
    return OrderState(
        version,
        position,
        _STATUSES[status],
        rider_id,
        (places[0], places[1]),
        (places[2], places[3]),
        time_zone,
        placed,
        _or_none(assigned),
        _or_none(picked_up),
        _or_none(arrived),
        _or_none(completed),
        _or_none(cancelled),
        step,
        _or_none(preparation),
        _or_none(promised),
        _or_none(items),
        assignments,
        city_name,
    )


def _number(value: int | None) -> int:
    return _NULL if value is None else _known(value)


def _known(value: int) -> int:
    if value < 0:
        raise UnwritableOrderState(f"{value} is negative")
    return value


def _or_none(value: int) -> int | None:
    return None if value == _NULL else value
