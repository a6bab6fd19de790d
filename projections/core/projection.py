"""The declaration of a projection: a fold over one keyed stream, and how its state is stored. The rest is generic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, Literal, TypeVar

from domain.features.keyed_event import KeyedEvent
from domain.features.partials import PartialDelta
from read_models.rows import RowChange, RowTable
from read_models.view import View

S = TypeVar("S")


class Batching(Enum):
    """How a worker batches the events of a projection under load."""

    LOW_LATENCY = auto()  # small batches, at once: point reads, open orders and the map are served from it
    SMALL_BATCHES = auto()  # small batches within half a second: readers of its tables, or a city every two seconds
    HIGH_THROUGHPUT = auto()  # large batches: its readers accept a delay of two seconds


MAX_PARTIAL_SLOTS = 1_024
"""Bounds the slots of a shard: a promotion renames all of them in one step."""


def no_changes(_key: str, _state: Any) -> Sequence[RowChange]:
    """The ``changes`` of a projection without tables."""
    return ()


@dataclass(frozen=True)
class Publication(Generic[S]):
    """Publishes the latest state of every key to a compacted topic, as the record ``record`` of ``domain/events``.

    ``values(key, state)`` returns the fields of that record, or None if there is nothing to publish for the key yet. It
    must include ``position``: readers keep the record with the highest one.
    """

    topic: str
    record: str
    values: Callable[[str, S], Mapping[str, Any] | None]


@dataclass(frozen=True)
class RowPublication:
    """Publishes every row of ``table`` to a compacted topic, as the record ``record`` of ``domain/events``.

    The table has one key column, of text, and a column ``position``; an event adds rows and changes none. So a row is
    published once, and its key is the key of its record. ``values`` returns the fields of the record from the row's
    columns.
    """

    topic: str
    record: str
    table: RowTable
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Projection(Generic[S]):
    """``fold(state, event) -> state`` is pure (invariant 5); ``encode``/``decode`` are inverse, byte for byte.

    The digest of ``fold``, ``encode``, ``decode``, ``changes``, ``partials`` and all that they call is pinned with
    ``fold_version`` when a generation is created; code with another digest may not write to it (invariant 9). So each
    of them is a function with a name in a module.

    ``store`` is the sink: "redis" for point reads, "postgres" for tables. With tables, ``changes(key, state)`` returns
    the row changes of the event that led to ``state``; the state carries them, and ``encode`` omits them.

    ``partials(old state, new state)`` returns what an event adds to the partial table of its shard, which has
    ``partial_slots`` slots (``domain.features.partials``). The table is written in the atomic step of the states. Only
    the Redis sink has partial tables.

    ``view`` makes the served row of one key's state; None if only table rows are served.

    ``point_read``: clients read single keys, so each answer can be recorded and compared with the log.
    """

    name: str
    stream: str
    fold_version: int
    initial: S
    fold: Callable[[S, KeyedEvent], S]
    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]
    store: Literal["redis", "postgres"] = "redis"
    tables: tuple[RowTable, ...] = ()
    changes: Callable[[str, S], Sequence[RowChange]] = no_changes
    publication: Publication[S] | None = None
    row_publication: RowPublication | None = None
    view: View[S] | None = None
    point_read: bool = False
    batching: Batching = Batching.LOW_LATENCY
    partials: Callable[[S, S], Iterable[PartialDelta]] | None = None
    partial_slots: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration that no sink can store."""
        if self.partials is not None and self.store != "redis":
            raise ValueError(f"{self.name} has partials: only store='redis' keeps partial tables")
        if (self.partials is not None) != (0 < self.partial_slots <= MAX_PARTIAL_SLOTS):
            raise ValueError(
                f"{self.name} needs 1 to {MAX_PARTIAL_SLOTS} partial_slots if it has partials, and none without: "
                f"it has {self.partial_slots}"
            )
        if self.row_publication is not None and (
            self.store != "postgres" or self.row_publication.table not in self.tables
        ):
            raise ValueError(f"{self.name} can publish only rows of its own tables in Postgres")

    @property
    def starts_at_snapshots(self) -> bool:
        """Whether a fold may start at a state snapshot. Rows and partial tables are sums over the whole stream."""
        return not self.tables and self.partials is None
