"""Encodes the state of a rider's spoofing: the packed parts as they are, and the numbers before them."""

from __future__ import annotations

import struct
from typing import NamedTuple

from domain.features.spoofing.clock import ClockSpans
from domain.features.spoofing.fixes import Fix
from domain.features.spoofing.jumps import Branch
from domain.features.spoofing.motion import Habit
from domain.features.spoofing.repetition import Hit
from domain.features.spoofing.state import SpoofingState

_FORMAT = 1
_FIX = "qiiqiq"
_HEAD = struct.Struct(f">BQQQ{_FIX}qBqBBHHqBqqqBqqqq?BHHHHI")
_BRANCH = struct.Struct(f">{_FIX}{_FIX}H")
_HIT = struct.Struct(">qiiI16s")


class UnreadableSpoofingState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: SpoofingState) -> bytes:
    """A head of 164 bytes, 74 for an open branch, 36 a hit, and the packed parts; big-endian.

    Equal states give equal bytes (invariant 8). ``alert`` and ``review`` are not part of them.
    """
    (
        version,
        position,
        late,
        last,
        since_ms,
        trunk,
        kept_ms,
        unchecked,
        mocks,
        habit,
        spans,
        branch,
        hits,
        window,
        memory,
        legs,
        anomalies,
        case,
        case_ms,
        _,
        _,
    ) = state
    # Unpacked by name: a call with ``*`` makes a list and a tuple of all 36 values first.
    last_ms, north, east, error_mm, speed_mm_s, received_ms = last
    speaking, silent = habit
    first_ms, pings, least_ms, right_ms, right_until_ms, shifted, shifted_ms, shifted_first_ms, shifted_until_ms = spans
    head = _HEAD.pack(
        _FORMAT,
        version,
        position,
        late,
        last_ms,
        north,
        east,
        error_mm,
        speed_mm_s,
        received_ms,
        since_ms,
        trunk,
        kept_ms,
        unchecked,
        mocks,
        speaking,
        silent,
        first_ms,
        pings,
        least_ms,
        right_ms,
        right_until_ms,
        shifted,
        shifted_ms,
        shifted_first_ms,
        shifted_until_ms,
        case_ms,
        branch is not None,
        len(hits),
        len(window),
        len(memory),
        len(legs),
        len(anomalies),
        len(case),
    )
    if branch is None and not hits:
        return b"".join([head, window, memory, legs, anomalies, case])
    jump = b"" if branch is None else _BRANCH.pack(*branch.anchor, *branch.first, branch.fixes)
    return b"".join([head, jump, *(_HIT.pack(*hit) for hit in hits), window, memory, legs, anomalies, case])


class _Lengths(NamedTuple):
    window: int
    memory: int
    legs: int
    anomalies: int
    case: int


def decode(data: bytes) -> SpoofingState:
    """The state that ``encode`` was given, without what its event changed. Raises UnreadableSpoofingState."""
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableSpoofingState(f"{len(data)} bytes that are no spoofing state of format {_FORMAT}")
    numbers = _HEAD.unpack_from(data)
    case_ms, has_branch, hit_count = numbers[26:29]
    lengths = _Lengths(*numbers[29:])
    at = _HEAD.size
    end = at + _BRANCH.size * has_branch + _HIT.size * hit_count + sum(lengths)
    if len(data) != end:
        raise UnreadableSpoofingState(f"a spoofing state of {end} bytes cannot have {len(data)}")
    branch = None
    if has_branch:
        fields = _BRANCH.unpack_from(data, at)
        branch = Branch(Fix(*fields[:6]), Fix(*fields[6:12]), fields[12])
        at += _BRANCH.size
    hits = tuple([Hit(*_HIT.unpack_from(data, at + _HIT.size * number)) for number in range(hit_count)])
    at += _HIT.size * hit_count
    parts: list[bytes] = []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    window, memory, legs, anomalies, case = parts
    version, position, late = numbers[1:4]
    since_ms, trunk, kept_ms, unchecked, mocks = numbers[10:15]
    return SpoofingState(
        version,
        position,
        late,
        Fix(*numbers[4:10]),
        since_ms,
        trunk,
        kept_ms,
        unchecked,
        mocks,
        Habit(*numbers[15:17]),
        ClockSpans(*numbers[17:26]),
        branch,
        hits,
        window,
        memory,
        legs,
        anomalies,
        case,
        case_ms,
    )
