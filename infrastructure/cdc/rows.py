"""A row of ``events``, from the WAL or from the table, as the Kafka record that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from infrastructure.cdc.pgoutput import ProtocolError, Relation
from infrastructure.kafka.port import OutRecord

COLUMNS = (
    "position",
    "stream",
    "shard",
    "seq",
    "version",
    "aggregate_key",
    "event_type",
    "event_id",
    "payload",
)
"""Column list of the publication: nothing else leaves the database. The server sends them in the table's order."""

RowToRecord = Callable[[Sequence[bytes | None]], OutRecord | None]


def row_to_record(relation: Relation, topics: Mapping[str, str], partitions: int) -> RowToRecord:
    """``converter`` for the rows that the WAL describes so. Raises ProtocolError on other columns than ours."""
    if relation.columns != COLUMNS:
        raise ProtocolError(f"the publication of {relation.table} sends {relation.columns}, not {COLUMNS}")
    return converter(topics, partitions)


def converter(topics: Mapping[str, str], partitions: int) -> RowToRecord:
    """A function from a row's values (text format) to its record; None for a stream that no topic carries.

    Text, not binary: all but the payload goes out as text headers, so the server's formatting is used as it is. The
    one way to a record: an event that is published twice, from the WAL and from the table, is the same bytes.
    """
    topic_of = {stream.encode(): topic for stream, topic in topics.items()}

    def convert(values: Sequence[bytes | None]) -> OutRecord | None:
        position, stream, shard, seq, version, key, event_type, event_id, payload = values
        topic = topic_of.get(stream or b"")
        if topic is None:
            return None
        if payload is None or shard is None or key is None:
            raise ProtocolError(f"a row of events without shard, key or payload at position {position!r}")
        return OutRecord(
            topic,
            int(shard) % partitions,
            key,
            # bytea in hex format: \x and two digits a byte.
            bytes.fromhex(payload[2:].decode("ascii")),
            [
                ("id", event_id or b""),
                ("eventType", event_type or b""),
                ("version", version or b""),
                ("position", position or b""),
                ("seq", seq or b""),
            ],
        )

    return convert
