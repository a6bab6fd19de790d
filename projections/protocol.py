"""What makes a projection: a fold over one keyed stream, and how its state is kept. Everything else is generic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Generic, TypeVar

from domain.features.keyed_event import KeyedEvent

S = TypeVar("S")


@dataclass(frozen=True)
class Projection(Generic[S]):
    """``fold(state, event) -> state`` is pure (invariant 5); ``encode``/``decode`` are inverse, byte for byte.

    ``modules`` hold the code that decides what is stored: their digest is pinned with ``fold_version`` when a
    generation is made, and another digest refuses to write to it (invariant 9).
    """

    name: str
    stream: str
    fold_version: int
    initial: S
    fold: Callable[[S, KeyedEvent], S]
    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]
    modules: tuple[ModuleType, ...]
