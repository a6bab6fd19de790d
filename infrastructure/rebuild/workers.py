"""Fills a generation by shards in parallel processes; progress is read from the fences, which are the checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.identifiers import SHARDS
from infrastructure.parallel import Look, WorkerFailed, in_processes
from infrastructure.rebuild.world import open_world, projection_named
from infrastructure.settings import Settings
from projections.filler import Filler
from projections.folding import Decode
from projections.patience import Patience
from projections.ports import Log, Sink
from projections.protocol import Projection

__all__ = ["FoldHere", "FoldInProcesses", "WorkerFailed"]


class FoldHere:
    """Fills in this process, for small logs and for projections that the catalogue has not."""

    def __init__(self, projection: Projection[Any], log: Log, decode: Decode, patience: Patience) -> None:
        self._projection = projection
        self._log = log
        self._decode = decode
        self._patience = patience

    def fill(self, sink: Sink, shards: Sequence[int], targets: Mapping[int, int], look: Look) -> None:
        """Bring ``shards`` to their targets."""
        filler = Filler(self._projection, self._log, sink, self._decode, shards)

        def attempt() -> None:
            filler.open(targets)
            while filler.step():
                look()

        self._patience.call(attempt)


class FoldInProcesses:
    """Fills by ``workers`` processes of this program, each with shards of its own."""

    def __init__(self, settings: Settings, projection: Projection[Any], workers: int) -> None:
        self._settings = settings
        self._name = projection.name
        self._workers = workers

    def fill(self, generation: int, targets: Mapping[int, int], look: Look) -> None:
        """Bring all shards to their targets. Raises WorkerFailed."""
        parts = [
            (self._settings, self._name, generation, list(range(number, SHARDS, self._workers)), dict(targets))
            for number in range(self._workers)
        ]
        in_processes("rebuild", _work, parts, look)


def _work(
    alive: Callable[[], None],
    settings: Settings,
    name: str,
    generation: int,
    shards: list[int],
    targets: dict[int, int],
) -> None:
    projection = projection_named(name)
    with open_world(settings) as world:
        here = FoldHere(projection, world.log, world.decode, Patience(lambda words: None))
        here.fill(world.stores.sink(projection, generation), shards, targets, alive)
