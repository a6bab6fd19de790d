"""Where the bytes of a recorded ping have its reception, so that Postgres can compare it without a decoded record.

Five minutes of a fleet's pings may have been sent to be later than an instant, and only those of a clock that is ahead
count by it. To decode each costs 7 µs of a core; to read six bytes in the query costs less than one.
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
"""From ``start`` on, a payload needs so many bytes for RECEIVED_TWICE_MS to read none that is missing."""

# The fields of GpsPing from version 2 on: rider_id, latitude, longitude, event_timestamp_ms (at `start`),
# accuracy_meters, speed_mps, schema_version (at `n`), event_id, received_timestamp_ms (at `p`). OFFSET 0 keeps Postgres
# from repeating an expression wherever its result is used.
RECEIVED_TWICE_MS: Final = f"""
(SELECT CASE WHEN get_byte(payload, n + 1) <> {2 * _EVENT_ID_BYTES} OR octet_length(payload) < p + {_TIME_BYTES}
             THEN NULL
             WHEN get_byte(payload, p + 4) < 128 OR get_byte(payload, p + 5) >= 128 THEN NULL
             ELSE (get_byte(payload, p) & 127)::bigint | ((get_byte(payload, p + 1) & 127)::bigint << 7)
                | ((get_byte(payload, p + 2) & 127)::bigint << 14) | ((get_byte(payload, p + 3) & 127)::bigint << 21)
                | ((get_byte(payload, p + 4) & 127)::bigint << 28) | (get_byte(payload, p + 5)::bigint << 35) END
 FROM (SELECT n, n + {2 + _EVENT_ID_BYTES} AS p FROM
        (SELECT m + 1 + 4 * (get_byte(payload, m) = 2)::int AS n FROM
          (SELECT start + 7 + 4 * (get_byte(payload, start + {_TIME_BYTES}) = 2)::int AS m OFFSET 0) a OFFSET 0) b
       OFFSET 0) c)
"""  # noqa: S608
"""An expression over ``payload`` and ``start``: twice the reception in epoch milliseconds, NULL if it has another form.

Only for payloads whose header ``has_layout`` has confirmed, with LEAST_BYTES: to read past the end is an error.
"""


def start_of_time(rider_id: str) -> int:
    """The offset of ``event_timestamp_ms`` in a ping of the rider."""
    size = len(rider_id.encode())
    return HEADER_BYTES + (1 if size < 64 else 2) + size + _COORDINATES_BYTES


def has_layout(payload: bytes, rider_id: str, received_ms: int) -> bool:
    """Whether the reception of a decoded ping is where ``RECEIVED_TWICE_MS`` reads it.

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
