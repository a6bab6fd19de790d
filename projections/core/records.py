"""Checks the records of a topic before they are used: another program may have written them (invariant 16)."""

from __future__ import annotations

from domain.identifiers import MAX_ID_CODE_POINTS, shard_of
from projections.core.ports import ConsumerRecord, LoggedEvent

MAX_NUMBER = 2**63 - 1
"""Positions, seqs and versions are int64: a larger number cannot be stored, and belongs to no log."""
MAX_DIGITS = 19
MAX_EVENT_TYPE_CHARS = 128
MAX_ERROR_CHARS = 200


class ForeignRecord(Exception):
    """A record on the topic that no tailer of this log wrote: a header is missing or impossible."""


def header_number(text: bytes) -> int:
    """Parse a position, seq or version of a header: 1 to MAX_NUMBER, in ASCII digits. Raises ValueError."""
    # The length first: to parse megabytes of digits would stall the worker.
    if not 0 < len(text) <= MAX_DIGITS or not text.isdigit():
        raise ValueError(f"{text[:MAX_DIGITS]!r} is no number of 1 to {MAX_DIGITS} digits")
    number = int(text)
    if not 0 < number <= MAX_NUMBER:
        raise ValueError(f"{number} is not from 1 to {MAX_NUMBER}")
    return number


def logged_event(record: ConsumerRecord, partitions: int) -> LoggedEvent:
    """Convert a record of a topic with ``partitions`` partitions. Every field is bounded before it is used.

    Raises ForeignRecord if a header is missing or out of bounds, if the key cannot be an id, or if the record is not in
    the partition of its key.
    """
    headers = dict(record.headers)
    try:
        # Hot path of every record of every projection: local names, and no function call per number.
        key, event_type = record.key.decode(), headers["eventType"].decode()
        p, s, v = headers["position"], headers["seq"], headers["version"]
        # int() accepts signs, spaces and underscores too, and raises for more than 4,300 digits.
        if not (p.isdigit() and s.isdigit() and v.isdigit()):
            raise _foreign(record, "a number of its headers is not written in digits")
        position, seq, version = int(p), int(s), int(v)
    except (KeyError, ValueError, AttributeError) as error:
        raise _foreign(record, repr(error)[:MAX_ERROR_CHARS]) from error
    # Before the hash of the key: that of a megabyte takes a tenth of a second, and the cache of hashes would keep it.
    if not 0 < len(key) <= MAX_ID_CODE_POINTS or "\0" in key:
        raise _foreign(record, f"its key of {len(key)} characters is no id")
    shard = shard_of(key)
    # The versions of a key are a part of the seqs of its shard, and those a part of the positions.
    if not 0 < version <= seq <= position <= MAX_NUMBER:
        raise _foreign(record, "its version, seq and position are out of bounds, or contradict each other")
    if record.partition != shard % partitions:
        raise _foreign(record, f"its key belongs to partition {shard % partitions}")
    if len(event_type) > MAX_EVENT_TYPE_CHARS or "\0" in event_type:
        raise _foreign(record, f"its event type has {len(event_type)} characters or a NUL")
    return LoggedEvent(position, shard, seq, key, version, event_type, record.value)


def _foreign(record: ConsumerRecord, why: str) -> ForeignRecord:
    return ForeignRecord(f"{record.topic}[{record.partition}]@{record.offset} is no record of this log: {why}")
