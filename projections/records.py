"""A Kafka record as the LoggedEvent that it carries. Nothing in a record is believed before it is bounded."""

from __future__ import annotations

from domain.identifiers import MAX_ID_CODE_POINTS, shard_of
from projections.ports import LoggedEvent, Record

MAX_NUMBER = 2**63 - 1
"""Positions, seqs and versions are int64: what is larger cannot be stored, and cannot be of a log."""
MAX_DIGITS = 19
MAX_EVENT_TYPE_CHARS = 128


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
        key = record.key.decode()
        event = LoggedEvent(
            header_number(headers["position"]),
            shard_of(key),
            header_number(headers["seq"]),
            key,
            header_number(headers["version"]),
            headers["eventType"].decode(),
            record.value,
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise _foreign(record, repr(error)) from error
    if not event.version <= event.seq <= event.position:
        # Each number counts a part of what the next one counts.
        raise _foreign(record, f"version {event.version}, seq {event.seq} and position {event.position} contradict")
    if record.partition != event.shard % partitions:
        raise _foreign(record, f"its key belongs to partition {event.shard % partitions}")
    if not 0 < len(key) <= MAX_ID_CODE_POINTS or "\0" in key:
        raise _foreign(record, f"its key of {len(key)} characters is no id")
    if len(event.event_type) > MAX_EVENT_TYPE_CHARS or "\0" in event.event_type:
        raise _foreign(record, f"its event type has {len(event.event_type)} characters or a NUL")
    return event


def _foreign(record: Record, why: str) -> ForeignRecord:
    return ForeignRecord(f"{record.topic}[{record.partition}]@{record.offset} is no record of this log: {why}")
