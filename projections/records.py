"""A Kafka record as the LoggedEvent that it carries."""

from __future__ import annotations

from domain.identifiers import shard_of
from projections.ports import LoggedEvent, Record


class ForeignRecord(Exception):
    """A record on our topic that no tailer of ours wrote: a header is missing or is no number."""


def logged_event(record: Record) -> LoggedEvent:
    """Raises ForeignRecord when the headers ``position``, ``seq``, ``version`` and ``eventType`` are not all there."""
    headers = dict(record.headers)
    try:
        key = record.key.decode()
        return LoggedEvent(
            int(headers["position"]),
            shard_of(key),
            int(headers["seq"]),
            key,
            int(headers["version"]),
            headers["eventType"].decode(),
            record.value,
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise ForeignRecord(
            f"{record.topic}[{record.partition}]@{record.offset} is no record of this log: {error!r}"
        ) from error
