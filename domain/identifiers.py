"""Identities of riders, orders and pings, and the hash that spreads keys over the log's 64 shards."""

from __future__ import annotations

import hashlib
import re
import struct
from functools import lru_cache
from uuid import UUID, uuid5

from domain.errors import InvalidOrderId, InvalidRiderId

SHARDS = 64
MAX_ID_CODE_POINTS = 128

NAMESPACE = UUID("8a1fb4e4-6f0d-5f0e-9a53-3d1c2d1f7b10")
"""Must never change: every aggregate id and every derived event id in every log depends on it."""

_PING_IDENTITY = struct.Struct(">qdd")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_CACHED_KEYS = 65_536
"""Bounds the memory that hostile keys can take: MAX_ID_CODE_POINTS of 4 bytes each, in three caches."""


# Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt, the same in versions 10 to 16), and the
# further code points that show nothing: U+2800, a Braille pattern without dots, and the space.
_INVISIBLE_RANGES = (
    (0x20, 0x20),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_VISIBLE = re.compile("[^" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _INVISIBLE_RANGES) + "]")


def check_rider_id(rider_id: str) -> str:
    """The id as given, compared code point by code point (no normalisation).

    Only ids that are to be recorded are checked: an id that an older version recorded can still be read.

    Raises:
        InvalidRiderId: unless it has 1 to 128 printable code points, at least one of them visible, no '/', no
            leading or trailing space, and is not '.' or '..'.
    """
    problem = _id_problem(rider_id)
    if problem is not None:
        raise InvalidRiderId(f"rider_id must {problem}")
    return rider_id


def check_order_id(order_id: str) -> str:
    """The id as given; the rules are those of a rider's id.

    Raises:
        InvalidOrderId: as ``check_rider_id`` raises InvalidRiderId.
    """
    problem = _id_problem(order_id)
    if problem is not None:
        raise InvalidOrderId(f"order_id must {problem}")
    return order_id


def _id_problem(key: str) -> str | None:
    """What the key of an aggregate must be, if it is not; None for a valid one."""
    if not 1 <= len(key) <= MAX_ID_CODE_POINTS:
        return f"have 1 to {MAX_ID_CODE_POINTS} characters, not {len(key)}"
    if not key.isprintable() or "/" in key or key[0] == " " or key[-1] == " ":
        return "be printable, without '/' and without leading or trailing space"
    # HTTP clients remove these two from a path, so no request could name the aggregate.
    if key in {".", ".."}:
        return "not be '.' or '..'"
    if not key.isascii() and _VISIBLE.search(key) is None:
        return "have a visible character"
    return None


def aggregate_id(aggregate_type: str, key: str) -> UUID:
    """UUIDv5 over ``<type>/<key>``, for example ``Rider/anna``."""
    return _cached_id(aggregate_type, key) if len(key) <= MAX_ID_CODE_POINTS else _id_of(aggregate_type, key)


def _id_of(aggregate_type: str, key: str) -> UUID:
    return uuid5(NAMESPACE, f"{aggregate_type}/{key}")


# Only for keys that an id can have: a request may name one of 64 KiB, and 65,536 of these are 4 GiB (invariant 16).
_cached_id = lru_cache(maxsize=_CACHED_KEYS)(_id_of)


def is_event_id(text: str) -> bool:
    """Whether the text has the form of a UUID. UUID() reads more forms, and would merge two different sent ids."""
    return _UUID.fullmatch(text) is not None


def derive_event_id(rider_id: str, event_timestamp_ms: int, latitude: float, longitude: float) -> str:
    """The identity of a ping whose phone sent none: the same fix sent again is the same ping.

    UUIDv5 over rider id (UTF-8), 0x00, then int64 milliseconds and both coordinates as doubles, big-endian;
    −0.0 counts as 0.0, since the two compare equal.
    """
    fix = _PING_IDENTITY.pack(event_timestamp_ms, latitude + 0.0, longitude + 0.0)
    return str(_uuid5(rider_id.encode() + b"\0" + fix))


def _uuid5(name: bytes) -> UUID:
    # uuid.uuid5 takes bytes only from Python 3.12 on.
    digest = hashlib.sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


def uuid5_text(namespace: UUID, name: str) -> str:
    """A UUIDv5 (RFC 9562, 5.5) as ``str(uuid.uuid5(namespace, name))`` writes it, in a sixth of the time.

    Every event that is no ping has two such ids, and a history has millions of events.
    """
    made = bytearray(hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50
    made[8] = made[8] & 0x3F | 0x80
    text = made.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 (seed 0x9747b28c) as an unsigned 32-bit number; it decides partitions for Java clients too."""
    length = len(data)
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ length
    whole = length & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = (k * m) & mask
        k = ((k ^ (k >> 24)) * m) & mask
        h = ((h * m) & mask) ^ k
    if length != whole:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    return h ^ (h >> 15)


def shard_of(key: str) -> int:
    """0–63; for every power of two P ≤ 64, shard mod P is the partition that Kafka's default partitioner gives."""
    return _cached_shard(key) if len(key) <= MAX_ID_CODE_POINTS else _shard(key)


def _shard(key: str) -> int:
    return (murmur2(key.encode()) & 0x7FFFFFFF) % SHARDS


_cached_shard = lru_cache(maxsize=_CACHED_KEYS)(_shard)
