"""What makes a projection: a fold over one keyed stream, and how its state is kept. Everything else is generic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from domain.features.keyed_event import KeyedEvent
from read_models.rows import RowChange, RowTable
from read_models.view import View

S = TypeVar("S")


def no_changes(_key: str, _state: Any) -> Sequence[RowChange]:
    return ()


@dataclass(frozen=True)
class Publication(Generic[S]):
    """The latest state of every key on a compacted topic, as the record ``record`` of ``domain/events``.

    ``values(key, state)`` is that record; it must carry ``position``, by which readers keep the highest. None: nothing
    to tell of this key yet.
    """

    topic: str
    record: str
    values: Callable[[str, S], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Projection(Generic[S]):
    """``fold(state, event) -> state`` is pure (invariant 5); ``encode``/``decode`` are inverse, byte for byte.

    The digest of ``fold``, ``encode``, ``decode``, ``changes`` and all that they call is pinned with ``fold_version``
    when a generation is created; code with another digest may not write to it (invariant 9). So each of them is a
    function with a name in a module.

    ``store`` says where: "redis" for point reads, "postgres" for tables. There, ``changes(key, state)`` is what the
    event that led to ``state`` changes in ``tables``; the state carries it, ``encode`` leaves it out.

    ``view`` is what is served of one key's state; None where only rows are.

    ``patient``: whoever reads it does not mind two seconds, for which its events may come together under load.
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
    view: View[S] | None = None
    patient: bool = False
