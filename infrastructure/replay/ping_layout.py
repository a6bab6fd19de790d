"""Where the bytes of a recorded ping have its reception, so that Postgres can compare it without a decoded record.

Five minutes of a fleet's pings may have been sent to be later than an instant, and only those of a clock that is ahead
count by it. To decode each costs 7 µs of a core; to read a few bytes in the query costs less than half of one.
"""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 5
"""The Confluent frame: 0x00 and the schema's id. Payloads with the same header have the same layout."""
_COORDINATES_BYTES: Final = 16
_TIME_BYTES: Final = 6
"""A time between 1971 and 2039 in epoch milliseconds, as Avro writes it: seven bits a byte of twice its value."""
_EVENT_ID_BYTES: Final = 36
LEAST_BYTES: Final = 20
"""From ``start`` on, a payload needs so many bytes for ``may_be_received_by`` to read none that is missing."""
_WINDOW_BITS: Final = 21
"""Three bytes of a time: twice the milliseconds, modulo 17.5 minutes."""

# The fields of GpsPing from version 2 on: rider_id, latitude, longitude, event_timestamp_ms (at `start`),
# accuracy_meters, speed_mps, schema_version, event_id, received_timestamp_ms. The two values between may be null, which
# takes one byte instead of five.
_NULLABLE: Final = f"start + {_TIME_BYTES}"


def _low_bits_within(version_at: str) -> str:
    """``version_at``: the offset of schema_version, an SQL expression."""
    at = f"{version_at} + {2 + _EVENT_ID_BYTES}"
    low = " | ".join(f"((get_byte(payload, {at} + {nth}) & 127) << {7 * nth})" for nth in range(_WINDOW_BITS // 7))
    return (
        f"CASE WHEN octet_length(payload) < {at} + {_TIME_BYTES} THEN true"
        f" WHEN get_byte(payload, {version_at} + 1) <> {2 * _EVENT_ID_BYTES} THEN true"
        # Another number of bytes than that of a time: no reception, or one in another century.
        f" WHEN get_byte(payload, {at} + 4) < 128 OR get_byte(payload, {at} + 5) >= 128 THEN true"
        f" ELSE ((:by_window - ({low})) & {1 << (_WINDOW_BITS - 1)}) = 0 END"
    )


MAY_BE_RECEIVED_BY: Final = (
    f"CASE get_byte(payload, {_NULLABLE}) WHEN 2"
    f" THEN CASE get_byte(payload, {_NULLABLE} + 5) WHEN 2"
    f" THEN {_low_bits_within(f'{_NULLABLE} + 10')} ELSE {_low_bits_within(f'{_NULLABLE} + 6')} END"
    f" ELSE CASE get_byte(payload, {_NULLABLE} + 1) WHEN 2"
    f" THEN {_low_bits_within(f'{_NULLABLE} + 6')} ELSE {_low_bits_within(f'{_NULLABLE} + 2')} END END"
)
"""A condition over ``payload``, ``start`` and ``:by_window``: false only for a ping that was received after an instant.

It holds for every ping that was received in the 8.7 minutes before the instant, which ``window_of`` gives: a ping that
was sent to be later was received at most ``MAX_AHEAD_MS`` before. It also holds for some that came late, so the record
decides. The whole time would cost twice as many bytes to read. Only for payloads whose header ``has_layout`` has
confirmed, with LEAST_BYTES: to read past the end is an error.
"""


def window_of(ms: int) -> int:
    """The instant in the unit that ``MAY_BE_RECEIVED_BY`` compares."""
    return 2 * ms & ((1 << _WINDOW_BITS) - 1)


def start_of_time(rider_id: str) -> int:
    """The offset of ``event_timestamp_ms`` in a ping of the rider."""
    size = len(rider_id.encode())
    return HEADER_BYTES + (1 if size < 64 else 2) + size + _COORDINATES_BYTES


def has_layout(payload: bytes, rider_id: str, received_ms: int) -> bool:
    """Whether the reception of a decoded ping is where ``MAY_BE_RECEIVED_BY`` reads it.

    It is then for every payload with the same header, because its schema alone decides the layout.
    """
    try:
        at = start_of_time(rider_id) + _TIME_BYTES
        for _ in range(2):
            at += 5 if payload[at] == 2 else 1
        if payload[at + 1] != 2 * _EVENT_ID_BYTES:
            return False
    except IndexError:
        return False
    at += 2 + _EVENT_ID_BYTES
    found = payload[at : at + _TIME_BYTES]
    if len(found) < _TIME_BYTES or found[-1] >= 128 or any(byte < 128 for byte in found[:-1]):
        return False
    return sum((byte & 127) << (7 * place) for place, byte in enumerate(found)) == 2 * received_ms
