"""What a rebuild needs of the world around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from projections.core.fold import Decode
from projections.core.ports import EventLog, Sink
from projections.core.retry import RetryPolicy
from projections.rebuild.generations import Generation, Generations


@dataclass(frozen=True)
class RebuildPorts:
    """The ports and callbacks of a rebuild.

    ``fill(generation, targets)`` folds every shard up to its target seq, or to the head. ``wait_until_followed``
    returns once the serving processes keep that generation up to date, and immediately if none is serving.
    ``end_other_fills(number)`` ends the fills of that generation that killed rebuilds have left on other machines.
    """

    generations: Generations
    log: EventLog
    sink_of: Callable[[int], Sink]
    decode: Decode
    fill: Callable[[Generation, Mapping[int, int]], None]
    wait_until_followed: Callable[[Generation], None]
    retry_policy: RetryPolicy
    on_progress: Callable[[str], None]
    end_other_fills: Callable[[int], None] = lambda number: None
