"""Encodes the payouts of one rider, as bytes from which the rider's next event is folded."""

from __future__ import annotations

from struct import Struct, error

from domain.features.payouts.fold import PayoutState
from domain.features.payouts.packaged import packaged_tariff
from domain.features.payouts.packed_legs import unpacked
from domain.features.payouts.track import FIX_BYTES

_FORMAT = 1
_HEAD = Struct(">B8sqqqqqqHII")
_CLOSED = Struct(">iH")


class UnreadablePayoutState(Exception):
    """The bytes were not written by this version of the read model, or with another tariff."""


def encode(state: PayoutState) -> bytes:
    """A head of 67 bytes, 36 a fix, about 150 a leg, 9 a closed currency; equal states give equal bytes (invariant 8).

    Big-endian. The head has the start of the tariff's digest: so the digest of the fold, which covers the bytes of the
    initial state, changes with the tariff, and a state is only continued with the tariff that made it (invariant 9).
    """
    version, position, made, too_late, unknown_ends, not_kept, track, held, closed, _ = state
    counts = (version, position, made, too_late, unknown_ends, not_kept)
    head = _HEAD.pack(_FORMAT, packaged_tariff().mark, *counts, len(closed), len(track), len(held.packed))
    parts = [head, track, held.packed]
    for currency, week in closed:
        text = currency.encode()
        parts += [_CLOSED.pack(week, len(text)), text]
    return b"".join(parts)


def decode(data: bytes) -> PayoutState:
    """The state that ``encode`` was given, without its entries. Raises UnreadablePayoutState."""
    try:
        form, tariff, *numbers, currencies, track_bytes, leg_bytes = _HEAD.unpack_from(data)
        if form != _FORMAT or tariff != packaged_tariff().mark or track_bytes % FIX_BYTES:
            raise UnreadablePayoutState(f"{len(data)} bytes of another format or tariff")
        legs_at = _HEAD.size + track_bytes
        at = legs_at + leg_bytes
        held = unpacked(data[legs_at:at])
        closed: list[tuple[str, int]] = []
        for _ in range(currencies):
            week, length = _CLOSED.unpack_from(data, at)
            at += _CLOSED.size + length
            closed.append((data[at - length : at].decode(), week))
    except (error, UnicodeDecodeError) as problem:
        raise UnreadablePayoutState(f"{len(data)} bytes that are no payouts: {problem}") from problem
    if at != len(data):
        raise UnreadablePayoutState(f"payouts of {at} bytes cannot have {len(data)}")
    return PayoutState._make((*numbers, data[_HEAD.size : legs_at], held, tuple(closed), ()))
