"""Generations of projections: which one readers follow, and which version of the fold may write to each."""

from __future__ import annotations

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from infrastructure.event_store.tables import projection_generations


class FoldMismatch(Exception):
    """This code's fold is not the one that the generation was written by (invariant 9)."""


def claim(engine: Engine, projection: str, fold_version: int, fold_digest: str) -> int:
    """The active generation of ``projection``, made as number 1 if there is none, for this fold to write to.

    Raises FoldMismatch when it is pinned to another version or digest: writing would mix two folds in one state.
    """
    c = projection_generations.c
    with engine.begin() as connection:
        connection.execute(
            insert(projection_generations)
            .values(
                projection=projection,
                generation=1,
                fold_version=fold_version,
                fold_digest=fold_digest,
                active=True,
            )
            .on_conflict_do_nothing()
        )
        row = connection.execute(
            select(c.generation, c.fold_version, c.fold_digest).where(c.projection == projection, c.active)
        ).one()
    if (row.fold_version, row.fold_digest) != (fold_version, fold_digest):
        raise FoldMismatch(
            f"generation {row.generation} of {projection} was written by fold version {row.fold_version} "
            f"({row.fold_digest}); this code has version {fold_version} ({fold_digest}): run the old code, or rebuild"
        )
    return int(row.generation)


def active(engine: Engine, projection: str) -> int | None:
    """The generation that readers follow; None before the projection first ran."""
    c = projection_generations.c
    with engine.connect() as connection:
        return connection.execute(select(c.generation).where(c.projection == projection, c.active)).scalar_one_or_none()
