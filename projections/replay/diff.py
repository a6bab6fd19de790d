"""Compares two replays: which keys differ, by how much, and from which event on. Pure.

To find that event, ``first_difference`` folds both horizons of the key side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from projections.core.ports import LoggedEvent
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshots
from projections.replay.as_of import Horizon, upto
from projections.replay.event_axis import HappenedEvents
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from read_models.view import ColumnType, ViewLimits

Row = Mapping[str, Any]

IDENTITY_COLUMNS = frozenset({"rider_id", "version", "position", "age_ms", "status", "generation", "as_of_ms"})
"""Columns that name a value's key, place in the log and age. They are shown, and never count as a difference."""

MAX_EXAMPLES = 20


class KeyDifference(NamedTuple):
    """One key that differs; a side is None where the key has no row."""

    key: str
    left: Row | None
    right: Row | None
    columns: list[str]


class ValueSpread(NamedTuple):
    """The distribution of |right - left| in one column, over the keys with two different numbers."""

    keys: int
    mean: float
    p50: float
    p90: float
    p99: float
    largest: float


@dataclass
class ReplayDifference:
    """The differences found. ``deviations``: column -> |right - left| of each key that differs in it."""

    compared: int = 0
    only_left: int = 0
    only_right: int = 0
    differing: int = 0
    deviations: dict[str, list[float]] = field(default_factory=dict)
    null_on_one_side: dict[str, int] = field(default_factory=dict)
    examples: list[KeyDifference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not (self.differing or self.only_left or self.only_right)

    def spreads(self) -> dict[str, ValueSpread]:
        return {name: _spread(sorted(values)) for name, values in sorted(self.deviations.items()) if values}

    def add(self, key: str, left: Row | None, right: Row | None, columns: Mapping[str, ColumnType]) -> None:
        """Compare one key. The first keys that differ become the examples."""
        if left is None and right is None:
            return
        self.compared += 1
        names = differing_columns(left, right, columns)
        if left is None or right is None:
            self.only_left += right is None
            self.only_right += left is None
        elif not names:
            return
        else:
            self.differing += 1
            self._measure(left, right, names, columns)
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(KeyDifference(key, left, right, names))

    def _measure(self, left: Row, right: Row, names: Iterable[str], columns: Mapping[str, ColumnType]) -> None:
        for name in names:
            a, b = left[name], right[name]
            if a is None or b is None:
                self.null_on_one_side[name] = self.null_on_one_side.get(name, 0) + 1
            elif columns[name] in {"float", "integer"}:
                self.deviations.setdefault(name, []).append(abs(b - a))


def differing_columns(left: Row | None, right: Row | None, columns: Mapping[str, ColumnType]) -> list[str]:
    """The columns in which two rows have different values; all of them if only one row exists."""
    values = [name for name in columns if name not in IDENTITY_COLUMNS]
    if left is None or right is None:
        return values if left is not right else []
    return [name for name in values if left[name] != right[name]]


ShardKey = tuple[int, str]
"""(shard, key): the order in which a replay of all keys yields them."""


def pair_by_key(
    left: Iterable[tuple[ShardKey, Row]], right: Iterable[tuple[ShardKey, Row]]
) -> Iterator[tuple[str, Row | None, Row | None]]:
    """Pair the rows of two sequences, both in the order of ``ShardKey``; None where a side lacks the key."""
    ours, theirs = iter(left), iter(right)
    a, b = next(ours, None), next(theirs, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0][1], a[1], None
            a = next(ours, None)
        elif a is None or b[0] < a[0]:
            yield b[0][1], None, b[1]
            b = next(theirs, None)
        else:
            yield a[0][1], a[1], b[1]
            a, b = next(ours, None), next(theirs, None)


class DifferenceStart(NamedTuple):
    """The event from which on two folds of one key differ to the end.

    ``side`` says where the event counts: left, right or both. Version 0 with side ``before``: the difference is older
    than all events that were compared.
    """

    version: int
    position: int
    side: str


def _spread(values: list[float]) -> ValueSpread:
    def at(share: float) -> float:
        return values[min(len(values) - 1, int(share * len(values)))]

    return ValueSpread(len(values), sum(values) / len(values), at(0.5), at(0.9), at(0.99), values[-1])


MAX_COMPARED_EVENTS = 5_000
"""Events of one key that are folded on both sides to find it; an older difference is reported as ``before``."""

_LIMITS = ViewLimits()


def first_difference(
    source: ReplaySource[Any],
    snapshots: StateSnapshots | None,
    key: str,
    left: Horizon,
    right: Horizon,
) -> DifferenceStart | None:
    """Find the event from which on the values of the two horizons differ to the end; None if they do not differ.

    Raises Unresolvable if events that are needed were detached.
    """
    projection, archive = source.projection, source.archive
    view = projection.view
    assert view is not None
    last = archive.last_version(projection.stream, key, max(left.position, right.position))
    first = max(0, last - MAX_COMPARED_EVENTS)
    if left.happened_by_ms == right.happened_by_ms:
        # Both have the same events up to the earlier position: only the events in between can make a difference.
        first = max(first, archive.last_version(projection.stream, key, min(left.position, right.position)))
    if first == last:
        return None
    replay = KeyReplay(source, snapshots)
    runs = [replay.run_from(key, first, side) for side in (left, right)]
    at_ms = max(left.at_ms, right.at_ms)
    happened = HappenedEvents(archive, source.decode)

    def differ() -> bool:
        rows = [None if r.state is None else view.row(key, view.features(r.state), at_ms, _LIMITS, True) for r in runs]
        return bool(differing_columns(rows[0], rows[1], view.columns))

    found = DifferenceStart(0, 0, "before") if differ() else None
    for after in range(first, last, SNAPSHOT_INTERVAL):
        chunks = [
            _counting(projection, happened, key, side, after, min(after + SNAPSHOT_INTERVAL, last))
            for side in (left, right)
        ]
        every = {event.version: event for chunk in chunks for event in chunk.values()}
        for version, event in sorted(every.items()):
            counts = [version in chunk for chunk in chunks]
            for run, counted in zip(runs, counts, strict=True):
                if counted:
                    run.fold([event])
            if not differ():
                found = None
            elif found is None:
                found = DifferenceStart(
                    version, event.position, "both" if all(counts) else "left" if counts[0] else "right"
                )
    return found


def _counting(
    projection: Projection[Any], happened: HappenedEvents, key: str, side: Horizon, after: int, until: int
) -> dict[int, LoggedEvent]:
    """The events of a range of versions that count on one side, by version."""
    events, _ = upto(happened.key_range(projection.stream, key, after, until, side.happened_by_ms), side.position)
    return {event.version: event for event in events}
