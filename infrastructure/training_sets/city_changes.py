"""What events change in the sums of the city: one file a shard, sorted by the clock of the axis, and read along it.

Integers only, so that the order among equal clocks changes nothing (invariant 6).
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from domain.features.orders import OPEN_SLOT
from domain.features.partials import PartialTable
from domain.features.traffic.steps import hour_of_week
from infrastructure.replay.whole_files import unfinished_file
from read_models.city.running import RunningCity

TRAFFIC_COLUMNS = ("clock", "bucket", "cell", "octant", "ms", "mm", "riders")
ORDER_COLUMNS = ("clock", "bucket", "cell", "count", "duration_ms", "lateness_ms", "promised")
OPEN_BUCKET = -1
"""In the column ``bucket``: the change is of the open orders, not of those that were finished in a bucket."""
WINDOW_CLOCKS = 1_024
"""Instants whose changes are merged at once."""
MAX_WINDOW_CHANGES = 100_000
"""Changes in memory at once; if there are more between two instants, they are summed first."""

Change = tuple[int, ...]
"""The values of the columns, without or with the clock."""


class ChangeWriter:
    """Collects the changes of one shard: 56 bytes each in memory. ``rewind`` takes back those of the latest key."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = [array("q") for _ in columns]

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, clock: int, changes: Iterable[Change]) -> None:
        """Add changes without their clock."""
        clocks, *columns = self._columns
        for change in changes:
            clocks.append(clock)
            for column, value in zip(columns, change, strict=True):
                column.append(value)

    def rewind(self, length: int) -> None:
        """Forget all but the first ``length`` changes."""
        for column in self._columns:
            del column[length:]

    def write(self, path: Path) -> None:
        """Write them sorted by clock, column by column. Raises OSError."""
        names = [str(number) for number in range(len(self._columns))]
        columns = [pa.Array.from_buffers(pa.int64(), len(one), [None, pa.py_buffer(one)]) for one in self._columns]
        ordered = pa.table(columns, names=names).sort_by(names[0]).combine_chunks()
        unfinished = unfinished_file(path)
        with unfinished.open("wb") as file:
            for name in names:
                file.write(array("q", ordered.column(name).to_pylist()))
        unfinished.replace(path)


def order_changes(partials: PartialTable) -> list[Change]:
    """What the partial deltas of one or more events change, as values of ORDER_COLUMNS without the clock."""
    found: list[Change] = []
    for slot, (bucket, sums) in partials.items():
        for cell, amounts in sums.items():
            if slot == OPEN_SLOT:
                found.append((OPEN_BUCKET, int(cell, 16), amounts[0], 0, 0, 0))
            else:
                found.append((bucket, int(cell, 16), *amounts))
    return found


class CityAlong:
    """The city, advanced from clock to clock by the changes of all shards. The files are mapped, not read."""

    def __init__(
        self, traffic: Sequence[Path], orders: Sequence[Path], max_window_changes: int = MAX_WINDOW_CHANGES
    ) -> None:
        """Raises OSError."""
        self._max_window_changes = max_window_changes
        self._city = RunningCity()
        self._traffic = [_Changes(path, len(TRAFFIC_COLUMNS)) for path in traffic]
        self._orders = [_Changes(path, len(ORDER_COLUMNS)) for path in orders]

    def along(self, clocks: Sequence[int]) -> Iterator[RunningCity]:
        """For each of ``clocks``, which ascend, the city with all changes up to it. Valid until the next one."""
        first = 0
        while first < len(clocks):
            last = min(first + WINDOW_CLOCKS, len(clocks))
            while last - first > 1 and self._waiting(clocks[last - 1]) > self._max_window_changes:
                last = first + (last - first) // 2
            if last - first == 1 and self._waiting(clocks[first]) > self._max_window_changes:
                self._add_summed(clocks[first])
                yield self._city
            else:
                yield from self._window(clocks[first:last])
            first = last

    def _waiting(self, clock: int) -> int:
        return sum(one.waiting(clock) for one in (*self._traffic, *self._orders))

    def _window(self, clocks: Sequence[int]) -> Iterator[RunningCity]:
        traffic, orders = (_merged(of, clocks[-1]) for of in (self._traffic, self._orders))
        add_usual, add_recent = self._city.add_usual, self._city.add_recent
        moved = changed = 0
        for clock in clocks:
            while moved < len(traffic) and traffic[moved][0] <= clock:
                _, bucket, cell, octant, ms, mm, riders = traffic[moved]
                add_usual(hour_of_week(bucket), cell, octant, ms, mm)
                add_recent(bucket, (cell, octant), ms, mm, riders)
                moved += 1
            while changed < len(orders) and orders[changed][0] <= clock:
                self._add_order(orders[changed][1:])
                changed += 1
            yield self._city

    def _add_summed(self, clock: int) -> None:
        """Add many changes at once, file by file, each sum of them only once."""
        for one in self._traffic:
            of_buckets = one.take_summed(clock, (1, 2, 3), (4, 5, 6))
            usual: dict[tuple[int, int, int], tuple[int, int]] = {}
            for bucket, cell, octant, ms, mm, riders in of_buckets:
                key = (hour_of_week(bucket), cell, octant)
                held = usual.get(key, (0, 0))
                usual[key] = (held[0] + ms, held[1] + mm)
                self._city.add_recent(bucket, (cell, octant), ms, mm, riders)
            for (hour, cell, octant), (ms, mm) in usual.items():
                self._city.add_usual(hour, cell, octant, ms, mm)
        for one in self._orders:
            for change in one.take_summed(clock, (1, 2), (3, 4, 5, 6)):
                self._add_order(change)

    def _add_order(self, change: Change) -> None:
        bucket, cell, count, duration_ms, lateness_ms, promised = change
        if bucket == OPEN_BUCKET:
            self._city.add_open(cell, count)
        else:
            self._city.add_finished(bucket, cell, (count, duration_ms, lateness_ms, promised))


class _Changes:
    """The changes of one shard, and how many of them were taken."""

    def __init__(self, path: Path, columns: int) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"").cast("q")
        length = len(data) // columns
        self._columns = [data[n * length : (n + 1) * length] for n in range(columns)]
        self._taken = 0

    def waiting(self, clock: int) -> int:
        """How many changes up to ``clock`` are not taken yet."""
        return bisect_right(self._columns[0], clock, lo=self._taken) - self._taken

    def take(self, clock: int) -> Iterator[Change]:
        """The next changes up to ``clock``."""
        columns = self._next(clock)
        return zip(*(column.tolist() for column in columns), strict=True)

    def take_summed(self, clock: int, by: Sequence[int], amounts: Sequence[int]) -> Iterator[Change]:
        """The sums of the columns ``amounts`` over the next changes up to ``clock``, by the columns ``by``."""
        columns = self._next(clock)
        table = pa.table(
            [
                pa.Array.from_buffers(pa.int64(), len(columns[n]), [None, pa.py_buffer(columns[n])])
                for n in (*by, *amounts)
            ],
            names=[str(n) for n in (*by, *amounts)],
        )
        sums = table.group_by([str(n) for n in by], use_threads=False).aggregate([(str(n), "sum") for n in amounts])
        names = [*(str(n) for n in by), *(f"{n}_sum" for n in amounts)]
        return zip(*(sums.column(name).to_pylist() for name in names), strict=True)

    def _next(self, clock: int) -> list[memoryview]:
        first, self._taken = self._taken, self._taken + self.waiting(clock)
        return [column[first : self._taken] for column in self._columns]


def _merged(files: Sequence[_Changes], clock: int) -> list[Change]:
    found: list[Change] = []
    for one in files:
        found.extend(one.take(clock))
    found.sort(key=_CLOCK)
    return found


_CLOCK: Callable[[Change], int] = itemgetter(0)
