"""What a replay of one projection reads: the events of the log, and how to decode and fold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from projections.core.fold import Decode
from projections.core.projection import Projection
from projections.replay.archive import Archive

S = TypeVar("S")


@dataclass(frozen=True)
class ReplaySource(Generic[S]):
    """One projection and the log that it is replayed from. ``decode`` may raise what the schema registry raises."""

    projection: Projection[S]
    archive: Archive
    decode: Decode
