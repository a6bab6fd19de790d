"""A Kafka record as the LoggedEvent that it carries. Nothing in a record is believed before it is bounded."""

from __future__ import annotations

from domain.identifiers import MAX_ID_CODE_POINTS, shard_of
from projections.ports import LoggedEvent, Record

MAX_NUMBER = 2**63 - 1
"""Positions, seqs and versions are int64: what is larger cannot be stored, and cannot be of a log."""
MAX_DIGITS = 19
MAX_EVENT_TYPE_CHARS = 128
MAX_ERROR_CHARS = 200


class ForeignRecord(Exception):
    """A record on our topic that no tailer of ours wrote: a header is missing, or says what cannot be."""


def header_number(text: bytes) -> int:
    """A position, seq or version as it stands in a header: from 1 to MAX_NUMBER, in ASCII digits.

    Raises ValueError. The length is checked first, because to read a number of megabytes would stall the worker.
    """
    if not 0 < len(text) <= MAX_DIGITS or not text.isdigit():
        raise ValueError(f"{text[:MAX_DIGITS]!r} is no number of 1 to {MAX_DIGITS} digits")
    number = int(text)
    if not 0 < number <= MAX_NUMBER:
        raise ValueError(f"{number} is not from 1 to {MAX_NUMBER}")
    return number


def logged_event(record: Record, partitions: int) -> LoggedEvent:
    """The event of a record on a topic of ``partitions`` partitions.

    Raises ForeignRecord when a header is missing or out of bounds, when the key cannot be an id, and when the record is
    not in the partition of its key.
    """
    headers = dict(record.headers)
    try:
        # Every record of every projection passes here: locals, and no call for each number.
        key, event_type = record.key.decode(), headers["eventType"].decode()
        p, s, v = headers["position"], headers["seq"], headers["version"]
        # int() alone reads signs, spaces and underscores too; of more than 4,300 digits it reads nothing.
        if not (p.isdigit() and s.isdigit() and v.isdigit()):
            raise _foreign(record, "a number of its headers is not written in digits")
        position, seq, version = int(p), int(s), int(v)
    except (KeyError, ValueError, AttributeError) as error:
        raise _foreign(record, repr(error)[:MAX_ERROR_CHARS]) from error
    shard = shard_of(key)
    # Each number counts a part of what the next one counts.
    if not 0 < version <= seq <= position <= MAX_NUMBER:
        raise _foreign(record, "its version, seq and position are out of bounds, or contradict each other")
    if record.partition != shard % partitions:
        raise _foreign(record, f"its key belongs to partition {shard % partitions}")
    if not 0 < len(key) <= MAX_ID_CODE_POINTS or "\0" in key:
        raise _foreign(record, f"its key of {len(key)} characters is no id")
    if len(event_type) > MAX_EVENT_TYPE_CHARS or "\0" in event_type:
        raise _foreign(record, f"its event type has {len(event_type)} characters or a NUL")
    return LoggedEvent(position, shard, seq, key, version, event_type, record.value)


def _foreign(record: Record, why: str) -> ForeignRecord:
    return ForeignRecord(f"{record.topic}[{record.partition}]@{record.offset} is no record of this log: {why}")
