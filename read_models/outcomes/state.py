"""Encodes the state of one order's outcome; the sums themselves are in the rows."""

from __future__ import annotations

import struct

from domain.features.orders import CANCELLED, COMPLETED, OPEN_STATUSES
from domain.features.outcomes.fold import OrderOutcome
from domain.features.outcomes.sums import FirstEta

_FORMAT = 1
_STATUSES = ("", *OPEN_STATUSES, COMPLETED, CANCELLED)
"""The position in this list is stored: append only."""
_STATUS_BYTE = {status: byte for byte, status in enumerate(_STATUSES)}
_HEAD = struct.Struct(">BqqBHqqqqqqHH")
_ETA = struct.Struct(">q16sqq")
_HAS_RIDER, _HAS_ETA = 1 << 8, 1 << 9


class UnreadableOutcomeState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: OrderOutcome) -> bytes:
    """A head of 72 bytes, 40 bytes of an ETA, and two texts; equal states give equal bytes (invariant 8).

    A bit of the head says whether a number, the rider or the ETA is known, since each value may be one.
    """
    numbers = (state.assigned_ms, state.picked_up_ms, state.arrived_ms, state.ended_ms, state.promised_seconds)
    known = sum(1 << bit for bit, number in enumerate(numbers) if number is not None)
    rider, place = (state.rider_id or "").encode(), state.place.encode()
    known |= (_HAS_RIDER if state.rider_id is not None else 0) | (_HAS_ETA if state.eta is not None else 0)
    head = _HEAD.pack(
        _FORMAT,
        state.version,
        state.position,
        _STATUS_BYTE[state.status],
        known,
        state.placed_ms,
        *(number or 0 for number in numbers),
        len(rider),
        len(place),
    )
    return head + (b"" if state.eta is None else _ETA.pack(*state.eta)) + rider + place


def decode(data: bytes) -> OrderOutcome:
    """The state that ``encode`` was given, without its changes. Raises UnreadableOutcomeState."""
    try:
        form, version, position, status, known, placed_ms, *numbers, rider, place = _HEAD.unpack_from(data)
        start = _HEAD.size
        eta = None
        if known & _HAS_ETA:
            eta, start = FirstEta._make(_ETA.unpack_from(data, start)), start + _ETA.size
        rider_id, place_id = data[start : start + rider].decode(), data[start + rider :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableOutcomeState(f"{len(data)} bytes that are no outcome: {error}") from error
    if form != _FORMAT or status >= len(_STATUSES) or len(data) != start + rider + place:
        raise UnreadableOutcomeState(f"{len(data)} bytes that are no outcome of format {_FORMAT}")
    times = [number if known >> bit & 1 else None for bit, number in enumerate(numbers)]
    rider_or_none = rider_id if known & _HAS_RIDER else None
    head = (version, position, _STATUSES[status], rider_or_none, place_id, placed_ms)
    return OrderOutcome._make((*head, *times, eta, ()))
