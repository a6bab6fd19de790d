"""Converts one gathered row of the job into the records of a partition. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from infrastructure.flink.statements import HEADERS
from projections.core.ports import ConsumerRecord

_NAMES = HEADERS


class PartitionBatch(NamedTuple):
    """The records of one partition in offset order; none for a heartbeat."""

    partition: int
    records: list[ConsumerRecord]


def partition_batch(row: Sequence[Any], topic: str) -> PartitionBatch:
    """``row``: partition, then the arrays of offsets, keys, values and of each header, as ``batches_query`` has them.

    A header that a record lacks is left out, so that the record is foreign here as it is to every consumer.
    """
    partition, offsets, keys, values, *headers = row
    records: list[ConsumerRecord] = []
    for offset, key, value, *texts in zip(*_equal(offsets, keys, values, *headers), strict=True):
        found = [(name, text) for name, text in zip(_NAMES, texts, strict=True) if text is not None]
        records.append(ConsumerRecord(topic, partition, offset, key or b"", value or b"", found))
    # The window keeps the order of arrival, which is that of the offsets; this sort costs nothing then.
    records.sort(key=lambda record: record.offset)
    return PartitionBatch(partition, records)


def _equal(offsets: Sequence[Any] | None, *columns: Sequence[Any] | None) -> list[Sequence[Any]]:
    """The columns, empty for a heartbeat. Raises ValueError if they do not have one value for each offset."""
    count = 0 if offsets is None else len(offsets)
    found = [offsets or (), *(column or () for column in columns)]
    if any(len(column) != count for column in found):
        raise ValueError(f"a batch of {count} offsets has columns of {[len(column) for column in found]} values")
    return found
