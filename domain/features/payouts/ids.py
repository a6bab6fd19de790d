"""The ids of payouts and adjustments: UUIDv5, so that the same payment has the same id in every rebuild."""

from __future__ import annotations

from hashlib import sha1

NAMESPACE = bytes.fromhex("6f3c8a52d9b14c0f9e7a52b0c1d4e8f3")
"""The namespace of payouts: 6f3c8a52-d9b1-4c0f-9e7a-52b0c1d4e8f3, chosen once at random."""


def uuid5_bytes(namespace: bytes, name: str) -> bytes:
    """The 16 bytes of a UUIDv5 (RFC 9562, 5.5), as ``uuid.uuid5`` gives them."""
    made = bytearray(sha1(namespace + name.encode(), usedforsecurity=False).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def uuid_text(data: bytes) -> str:
    """16 bytes as a UUID in lower case."""
    h = data.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID. Raises ValueError."""
    data = bytes.fromhex(text.replace("-", ""))
    if len(data) != 16:
        raise ValueError(f"{text[:40]!r} is no UUID")
    return data


def completed_id(order_id: str, leg: str) -> bytes:
    """The id of the payout of a leg that ended ``completed``: one per order and leg, for any rider.

    No order id contains a slash, so two pairs never have one name.
    """
    return uuid5_bytes(NAMESPACE, f"completed/{order_id}/{leg}")


def ended_otherwise_id(order_id: str, leg: str, rider_id: str, started_by: bytes) -> bytes:
    """The id of what is paid for a leg that ended otherwise, by rider and by the event that started the leg.

    The same rider may be assigned to one order twice: each of these legs has its own end.
    """
    return uuid5_bytes(NAMESPACE, f"otherwise/{order_id}/{leg}/{rider_id}/{uuid_text(started_by)}")


def adjustment_id(payout_id: bytes, event_id: str, event_timestamp_ms: int | None = None) -> bytes:
    """The id of the adjustment that an event makes to a payout.

    A client may send two pings with one event id and different times: the second one's name has its time too.
    """
    return uuid5_bytes(payout_id, event_id if event_timestamp_ms is None else f"{event_id}/{event_timestamp_ms}")
