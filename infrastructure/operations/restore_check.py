"""Checks that the state stored outside Postgres matches the log in Postgres (invariant 14)."""

from __future__ import annotations

from typing import NamedTuple

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from projections.catalogue import PROJECTIONS
from projections.core.fences import FenceMismatch, check_fences, fence_mismatch
from projections.rebuild.generations import is_kept_up


class ShardsOfAnotherLog(NamedTuple):
    """One generation with shards that do not match the log."""

    projection: str
    generation: int
    found: FenceMismatch


def shards_of_another_log(backends: Backends) -> list[ShardsOfAnotherLog]:
    """Check the fences of all generations that this code keeps up to date. Raises PortUnavailable."""
    result = []
    for projection in PROJECTIONS.values():
        for generation in backends.generations.all(projection.name):
            if not is_kept_up(generation, projection):
                continue
            shards = range(SHARDS)
            fences = dict(zip(shards, backends.stores.sink(projection, generation.number).fences(shards), strict=True))
            found = fence_mismatch(check_fences(backends.log, projection.stream, fences), fences)
            if found is not None:
                result.append(ShardsOfAnotherLog(projection.name, generation.number, found))
    return result
