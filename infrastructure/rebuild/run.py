"""A rebuild on real servers: the orchestration of ``projections.rebuild`` with processes, progress and a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from domain.identifiers import SHARDS
from infrastructure.rebuild.lock import rebuild_lock
from infrastructure.rebuild.serving import wait_followed
from infrastructure.rebuild.workers import FoldHere, FoldInProcesses
from infrastructure.rebuild.world import World, open_world
from infrastructure.settings import Settings
from projections.generations import Generation
from projections.patience import Patience
from projections.ports import PortUnavailable, Refused
from projections.protocol import Projection
from projections.rebuild import Rebuild, Tools

SMALL = 50_000
"""Below so many events, starting processes costs more than they save."""

Show = Callable[[int, int], None]
"""Called with (events folded, events to fold) while a generation fills."""


@contextmanager
def rebuilding(
    settings: Settings, projection: Projection[Any], *, workers: int, show: Show, tell: Callable[[str], None]
) -> Iterator[Rebuild]:
    """A Rebuild with everything it needs. Raises UserError if another one runs."""
    patience = Patience(tell)
    # A server may be starting at this very moment: from here on every step waits for it, so this one does too.
    patience.call(lambda: _reach(settings))
    with open_world(settings) as world, rebuild_lock(world.engine, projection.name):

        def fill(generation: Generation, targets: Mapping[int, int]) -> None:
            _fill(settings, world, projection, generation, targets, workers, show, patience, tell)

        yield Rebuild(
            projection,
            Tools(
                world.generations,
                world.log,
                lambda number: world.stores.sink(projection, number),
                world.decode,
                fill,
                lambda generation: wait_followed(world.engine, generation),
                patience,
                tell,
            ),
        )


def _reach(settings: Settings) -> None:
    with open_world(settings):
        pass


def _fill(
    settings: Settings,
    world: World,
    projection: Projection[Any],
    generation: Generation,
    targets: Mapping[int, int],
    workers: int,
    show: Show,
    patience: Patience,
    tell: Callable[[str], None],
) -> None:
    sink = world.stores.sink(projection, generation.number)
    head = patience.call(lambda: world.log.head(projection.stream))
    wanted = {shard: min(targets.get(shard, head.seqs[shard]), head.seqs[shard]) for shard in range(SHARDS)}
    told_at, began = 0.0, time.monotonic()

    def look() -> None:
        nonlocal told_at
        if time.monotonic() - told_at < 0.2:
            return
        told_at = time.monotonic()
        try:
            fences = sink.fences(list(wanted))
        except (PortUnavailable, Refused):
            return  # shown again when the server is back; the workers wait for it themselves
        show(sum(min(f.seq, wanted[s]) for s, f in enumerate(fences) if f is not None), sum(wanted.values()))

    if workers > 1 and sum(wanted.values()) > SMALL:
        FoldInProcesses(settings, projection, workers).fill(generation.number, wanted, look)
    else:
        FoldHere(projection, world.log, world.decode, patience).fill(sink, list(wanted), wanted, look)
    told_at = 0.0
    look()
    seconds, events = time.monotonic() - began, sum(wanted.values())
    tell(f"filled {events:,} events in {seconds:.1f} s ({events / max(seconds, 1e-3):,.0f} a second)")
