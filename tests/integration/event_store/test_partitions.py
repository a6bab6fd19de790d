"""The partitions of ``events``: which positions they cover, and when the next one is created."""

from __future__ import annotations

from sqlalchemy import Engine, text

from infrastructure.event_store.partitions import PartitionsAhead, end_of_partitions, ensure_partitions

ROWS = 10
_BOUNDS = text(
    "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'events'::regclass ORDER BY c.relname"
)


def bounds(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(_BOUNDS).scalars())


def ensured(engine: Engine, up_to: int) -> int:
    with engine.begin() as connection:
        return ensure_partitions(connection, up_to, ROWS)


def test_partitions_are_created_up_to_the_one_that_covers_a_position(engine: Engine) -> None:
    with engine.connect() as connection:
        assert end_of_partitions(connection) == 1
    assert ensured(engine, 1) == 11
    assert bounds(engine) == ["FOR VALUES FROM ('1') TO ('11')"]
    assert ensured(engine, 10) == 11
    # The end is not covered: it is the first position of the next partition.
    assert ensured(engine, 11) == 21
    assert ensured(engine, 40) == 41
    assert bounds(engine) == [f"FOR VALUES FROM ('{first}') TO ('{first + ROWS}')" for first in (1, 11, 21, 31)]
    with engine.connect() as connection:
        assert end_of_partitions(connection) == 41


def test_the_next_partition_is_created_when_the_last_is_half_full(engine: Engine) -> None:
    partitions = PartitionsAhead(ROWS)
    ends = []
    for last in range(1, 13):
        with engine.connect() as connection:
            partitions.make_ahead(connection, last)
            ends.append(end_of_partitions(connection))
    assert ends == [*[11] * 5, *[21] * 7]


def test_partitions_that_are_needed_at_once_are_created_within_the_append(engine: Engine) -> None:
    partitions = PartitionsAhead(ROWS)
    with engine.begin() as connection:
        assert partitions.cover(connection, 25) == 31
        connection.rollback()
    # Rolled back: they are created again, since only what is committed counts.
    with engine.begin() as connection:
        assert partitions.cover(connection, 25) == 31
    partitions.committed(31)
    with engine.connect() as connection:
        assert partitions.cover(connection, 30) == 0
        assert partitions.cover(connection, 31) == 41


def test_a_partition_whose_lock_is_not_given_is_tried_again_after_the_interval(engine: Engine) -> None:
    clock = [100.0]
    partitions = PartitionsAhead(ROWS, lambda: clock[0])
    with engine.connect() as holder, holder.begin(), engine.connect() as connection:
        holder.execute(text("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE"))
        partitions.make_ahead(connection, 1)
        assert end_of_partitions(holder) == 1
    for clock[0], end in ((104.9, 1), (105.0, 11)):
        with engine.connect() as connection:
            partitions.make_ahead(connection, 1)
            assert end_of_partitions(connection) == end
