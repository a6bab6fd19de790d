"""How long the ends of a topic's partitions are read: until each has shown a record, and never for ever."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from infrastructure.kafka.admin import MAX_READ_S, until_each_has_one

Batch = list[int]
"""The partitions of the messages that one call returns."""


def clock_of(step_s: float) -> Callable[[], float]:
    """A clock that goes on by ``step_s`` at each reading."""
    readings = iter(range(1_000_000))
    return lambda: next(readings) * step_s


def read(batches: list[Batch], partitions: set[int], step_s: float = 0.0) -> list[int]:
    coming = iter(batches)
    found = until_each_has_one(lambda: next(coming), lambda partition: partition, partitions, clock_of(step_s))
    # The bound of this test, far beyond that of the reader: a reader without one would go on.
    return list(islice(found, 10_000))


def test_reading_ends_once_each_partition_has_given_a_record() -> None:
    assert read([[0, 0], [1], [0]], {0, 1}) == [0, 0, 1]


def test_reading_ends_when_nothing_arrives() -> None:
    assert read([[0], []], {0, 1}) == [0]


def test_a_partition_that_gives_nothing_does_not_keep_the_reader_at_one_that_is_written_to() -> None:
    written_to = [[0]] * 100_000
    assert len(read(written_to, {0, 1}, step_s=1.0)) <= MAX_READ_S


def test_no_partition_with_records_needs_no_read() -> None:
    assert read([[0]], set()) == []
