"""Converts one gathered row of the job into the records of its partitions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from infrastructure.flink.statements import HEADERS
from projections.core.ports import ConsumerRecord

Batches = Mapping[int, Sequence[ConsumerRecord]]
"""Partition -> its records in offset order; none if it only had heartbeats."""
_BY_OFFSET = attrgetter("offset")


def batches_of(row: Sequence[Sequence[Any]], topic: str) -> Batches:
    """``row``: the arrays of partitions, offsets, keys, values and of each header, as ``batches_query`` has them.

    A header that a record lacks is left out, so that the record is foreign here as it is to every consumer. Raises
    ValueError if the arrays do not have one length.
    """
    partitions, offsets, keys, values, *headers = row
    found: dict[int, list[ConsumerRecord]] = {partition: [] for partition in set(partitions)}
    # Hot path of every event that Flink follows.
    lines = zip(partitions, offsets, keys, values, zip(*headers, strict=True), strict=True)
    for partition, offset, key, value, texts in lines:
        if offset is None:
            continue
        named = list(zip(HEADERS, texts, strict=True))
        if None in texts:
            named = [(name, text) for name, text in named if text is not None]
        found[partition].append(ConsumerRecord(topic, partition, offset, key or b"", value or b"", named))
    for records in found.values():
        # The window keeps the order of arrival, which is that of the offsets; this sort costs nothing then.
        records.sort(key=_BY_OFFSET)
    return found
