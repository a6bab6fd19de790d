"""Whether all that is kept outside Postgres is of the log that is in it."""

from __future__ import annotations

from typing import NamedTuple

from domain.identifiers import SHARDS
from infrastructure.backends import World
from projections.catalogue import PROJECTIONS
from projections.core.fences import Distrust, distrust, look
from projections.rebuild.generations import is_kept_up


class NotOfThisLog(NamedTuple):
    """One generation with shards that hold what this log has not."""

    projection: str
    generation: int
    found: Distrust


def not_of_this_log(world: World) -> list[NotOfThisLog]:
    """Of the generations that are kept up to date. Raises PortUnavailable."""
    result = []
    for projection in PROJECTIONS.values():
        for generation in world.generations.all(projection.name):
            if not is_kept_up(generation, projection):
                continue
            shards = range(SHARDS)
            fences = dict(zip(shards, world.stores.sink(projection, generation.number).fences(shards), strict=True))
            found = distrust(look(world.log, projection.stream, fences), fences)
            if found is not None:
                result.append(NotOfThisLog(projection.name, generation.number, found))
    return result
