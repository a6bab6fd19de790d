"""The changes of the city are the same sums in any order, in any number of files, one by one or summed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.traffic.steps import BUCKET_MS, OCTANTS, cell_at, hour_of_week
from infrastructure.training_sets.city_changes import (
    OPEN_BUCKET,
    ORDER_COLUMNS,
    TRAFFIC_COLUMNS,
    Change,
    ChangeWriter,
    CityAlong,
)
from read_models.city.running import CityAt, RunningCity

CELLS = [cell_at(52.5, 13.4), cell_at(52.52, 13.4)]
FIRST_BUCKET = 5_000_000
AT_MS = (FIRST_BUCKET + 5) * BUCKET_MS

_amounts = st.integers(-5_000_000, 9_000_000)
_traffic = st.tuples(
    st.integers(0, 30),
    st.integers(FIRST_BUCKET, FIRST_BUCKET + 5),
    st.sampled_from(CELLS),
    st.integers(0, OCTANTS - 1),
    _amounts,
    st.integers(1, 9_000_000),
    st.integers(-1, 3),
)
_orders = st.tuples(
    st.integers(0, 30),
    st.sampled_from([OPEN_BUCKET, FIRST_BUCKET, FIRST_BUCKET + 5]),
    st.sampled_from(CELLS),
    st.integers(-1, 2),
    *[st.integers(0, 5_000)] * 2,
    st.integers(0, 2),
)


def write(path: Path, columns: Sequence[str], changes: Sequence[Change]) -> Path:
    writer = ChangeWriter(columns)
    for clock, *change in changes:
        writer.add(clock, [tuple(change)])
        length = len(writer)
        writer.add(clock + 1, [tuple(change)])
        writer.rewind(length)
    writer.write(path)
    return path


def answers(city: CityAt) -> list[object]:
    found: list[object] = [city.fleet_pace()]
    for cell in CELLS:
        found += [city.pace(cell, octant, AT_MS) for octant in range(OCTANTS)]
        found += [city.index(cell, 0, AT_MS), city.orders_at(cell)]
    return found


def one_by_one(traffic: Sequence[Change], orders: Sequence[Change], clock: int) -> CityAt:
    city = RunningCity()
    for at, bucket, cell, octant, ms, mm, riders in traffic:
        if at <= clock:
            city.add_usual(hour_of_week(bucket), cell, octant, ms, mm)
            city.add_recent(bucket, (cell, octant), ms, mm, riders)
    for at, bucket, cell, count, *sums in orders:
        if at <= clock and bucket == OPEN_BUCKET:
            city.add_open(cell, count)
        elif at <= clock:
            city.add_finished(bucket, cell, (count, sums[0], sums[1], sums[2]))
    return city.at(AT_MS)


@settings(max_examples=40)
@given(
    traffic=st.lists(_traffic, max_size=60),
    orders=st.lists(_orders, max_size=20),
    clocks=st.lists(st.integers(0, 31), min_size=1, max_size=12).map(sorted),
    most=st.sampled_from([1, 5, 1_000]),
)
def test_along_the_clock_each_city_has_the_changes_up_to_it(
    traffic: list[Change], orders: list[Change], clocks: list[int], most: int
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = [write(folder / f"traffic-{n}.bin", TRAFFIC_COLUMNS, traffic[n::3]) for n in range(3)]
        of_orders = [write(folder / f"orders-{n}.bin", ORDER_COLUMNS, orders[n::2]) for n in range(2)]
        along = CityAlong(files, of_orders, max_window_changes=most)
        found = [answers(city.at(AT_MS)) for city in along.along(clocks)]
        # Another walker that begins in the middle, as a second worker does.
        later = [
            answers(city.at(AT_MS)) for city in CityAlong(files, of_orders, max_window_changes=most).along(clocks[3:])
        ]
    assert found == [answers(one_by_one(traffic, orders, clock)) for clock in clocks]
    assert later == found[3:]
