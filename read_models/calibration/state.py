"""Encodes the state of an order for the calibration; the counts of scores are in the partial tables."""

from __future__ import annotations

import struct

from domain.features.calibration.fold import LEGS, Answered, CalibrationState

NAME = "calibration"
_FORMAT = 1
_HEAD = struct.Struct(">BqqBqHB")
_ANSWER = struct.Struct(">Bqqq")
_OPEN = -(2**63)
"""Marks an order that is not completed: no event has this time."""


class UnreadableCalibrationState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: CalibrationState) -> bytes:
    """A head of 29 bytes, 25 for each answer, and the city in UTF-8; equal states give equal bytes (invariant 8)."""
    city = state.city.encode()
    completed_ms = _OPEN if state.completed_ms is None else state.completed_ms
    counts = len(city), len(state.answers)
    head = _HEAD.pack(_FORMAT, state.version, state.position, state.placed, completed_ms, *counts)
    return head + b"".join(_ANSWER.pack(LEGS.index(leg), *rest) for leg, *rest in state.answers) + city


def decode(data: bytes) -> CalibrationState:
    """The state that ``encode`` was given. Raises UnreadableCalibrationState."""
    try:
        format_, version, position, placed, completed_ms, city_bytes, count = _HEAD.unpack_from(data)
        upto = _HEAD.size + count * _ANSWER.size
        if format_ != _FORMAT or len(data) != upto + city_bytes:
            raise ValueError(f"{len(data)} bytes of format {format_}")
        answers = tuple(
            Answered(LEGS[leg], at_ms, p50_ms, p90_ms)
            for leg, at_ms, p50_ms, p90_ms in _ANSWER.iter_unpack(data[_HEAD.size : upto])
        )
        city = data[upto:].decode()
    except (ValueError, IndexError, struct.error) as error:
        raise UnreadableCalibrationState(f"no calibration state of format {_FORMAT}: {error}") from error
    return CalibrationState(
        version, position, bool(placed), city, None if completed_ms == _OPEN else completed_ms, answers
    )
