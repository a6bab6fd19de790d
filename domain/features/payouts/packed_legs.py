"""The held legs with their bytes, which are made when a leg changes and not when the state is stored.

Legs change a few times a delivery, a state is stored up to once a ping.
"""

from __future__ import annotations

from struct import Struct, error
from typing import NamedTuple

from domain.features.payouts.legs import LegPay, PaidLeg, PaidLegs

_LEG = Struct(">qq16siiqqI16s16sBHHHH")
_PAY = Struct(">qqqqI16sIH")


class HeldLegs(NamedTuple):
    """``packed`` has the legs as bytes; ``paid_until_ms`` is the latest end of a leg that has been paid, 0 if none."""

    legs: PaidLegs
    packed: bytes
    paid_until_ms: int


NO_LEGS = HeldLegs((), b"", 0)


def held_legs(legs: PaidLegs) -> HeldLegs:
    """About 150 bytes a leg, big-endian."""
    parts: list[bytes] = []
    paid_until_ms = 0
    for leg in legs:
        started_ms, order_id, name, ended_ms, started_by, latitude, longitude, zone, currency, *settled, pay = leg
        texts = [text.encode() for text in (order_id, name, zone, currency)]
        lengths = [len(text) for text in texts]
        place = (started_ms, ended_ms, started_by, latitude, longitude)
        parts.append(_LEG.pack(*place, *settled, pay is not None, *lengths))
        parts += texts
        if pay is not None:
            parts += [_PAY.pack(*pay[:-1], len(pay.adjusters)), pay.adjusters]
            paid_until_ms = max(paid_until_ms, ended_ms)
    return HeldLegs(legs, b"".join(parts), paid_until_ms)


def unpacked(data: bytes) -> HeldLegs:
    """The legs of which these are the bytes. Raises struct.error or UnicodeDecodeError for others."""
    legs: list[PaidLeg] = []
    at, paid_until_ms = 0, 0
    while at < len(data):
        started_ms, ended_ms, started_by, latitude, longitude, *settled, paid, o, n, z, c = _LEG.unpack_from(data, at)
        at += _LEG.size
        texts: list[str] = []
        for length in (o, n, z, c):
            texts.append(data[at : at + length].decode())
            at += length
        pay = None
        if paid:
            *numbers, length = _PAY.unpack_from(data, at)
            at += _PAY.size
            pay = LegPay._make((*numbers, data[at : at + length]))
            at += length
            paid_until_ms = max(paid_until_ms, ended_ms)
        place = (ended_ms, started_by, latitude, longitude)
        legs.append(PaidLeg._make((started_ms, *texts[:2], *place, *texts[2:], *settled, pay)))
    if at != len(data):
        raise error(f"the legs end at byte {at} of {len(data)}")
    return HeldLegs(tuple(legs), data, paid_until_ms)
