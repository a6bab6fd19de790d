"""Stores the generations of projections in Postgres: the state of each, and which one readers follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.held_connection import HeldConnection
from infrastructure.postgres.schema import projection_generations, projection_shards
from infrastructure.postgres.snapshots import sweep
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation, GenerationState, NotSwitched

c = projection_generations.c


class PostgresGenerations:
    """``projections.rebuild.generations.Generations``. Raises PortUnavailable if Postgres is unavailable."""

    def __init__(self, engine: Engine, check_writer: Callable[[Connection], None] = lambda connection: None) -> None:
        """``check_writer`` is called in each transaction that changes generations. It raises to forbid that."""
        self._engine = engine
        self._check_writer = check_writer

    def all(self, projection: str) -> list[Generation]:
        query = _SELECT.where(c.projection == projection)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [Generation(*row) for row in connection.execute(query)]

    def all_by_projection(self) -> dict[str, list[Generation]]:
        """Returns the generations of all projections in one query, for callers that poll."""
        found: dict[str, list[Generation]] = {}
        with unavailable_as_port_error(), self._engine.connect() as connection:
            for row in connection.execute(_SELECT):
                found.setdefault(row[0], []).append(Generation(*row))
        return found

    def is_dropped(self, projection: str, number: int) -> bool:
        query = select(c.state).where(c.projection == projection, c.generation == number)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none() == "dropped"

    def first(self, projection: Projection[Any]) -> None:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            # Dropped generations count: a number is never reused.
            if _last(connection, projection.name) == 0:
                connection.execute(_row(projection, 1, "following", active=True).on_conflict_do_nothing())

    def begin(self, projection: Projection[Any]) -> Generation:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            self._check_writer(connection)
            number = _last(connection, projection.name) + 1
            connection.execute(_row(projection, number, "filling", active=False))
        return Generation(
            projection.name, number, projection.fold_version, fold_digest(projection), active=False, state="filling"
        )

    def record(self, generation: Generation, state: GenerationState, comparison: Mapping[str, Any] | None) -> None:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            self._check_writer(connection)
            connection.execute(
                update(projection_generations)
                .where(c.projection == generation.projection, c.generation == generation.number, ~c.active)
                .values(state=state, comparison=comparison)
            )
        if state == "dropped":
            sweep(self._engine, generation.projection)

    @contextmanager
    def switching(self, live: Generation, to: Generation) -> Iterator[None]:
        """Locks the live fences in Postgres until the active generation has changed, so that no reader steps back.

        Fences in Redis cannot be locked. Its readers move shard by shard, once the new fence has reached the old one.
        """
        f = projection_shards.c
        held = select(f.shard).where(f.projection == live.projection, f.generation == live.number)
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(held.order_by(f.shard).with_for_update())
            yield
            # After the catch-up, which may take long: a task that was closed meanwhile must not move readers.
            self._check_writer(connection)
            mine = c.projection == live.projection
            was = update(projection_generations).where(mine, c.generation == live.number, c.active)
            becomes = update(projection_generations).where(mine, c.generation == to.number, c.state != "dropped")
            if connection.execute(was.values(active=False, state="following")).rowcount != 1:
                raise NotSwitched(f"generation {live.number} of {live.projection} is not the active one any more")
            if connection.execute(becomes.values(active=True, state="following")).rowcount != 1:
                raise NotSwitched(f"generation {to.number} of {live.projection} was dropped meanwhile")


_SELECT = (
    select(c.projection, c.generation, c.fold_version, c.fold_digest, c.active, c.state, c.comparison)
    .where(c.state != "dropped")
    .order_by(c.generation)
)


def _last(connection: Connection, projection: str) -> int:
    query = select(func.coalesce(func.max(c.generation), 0)).where(c.projection == projection)
    return int(connection.execute(query).scalar_one())


def _row(projection: Projection[Any], number: int, state: GenerationState, *, active: bool) -> Any:
    return insert(projection_generations).values(
        projection=projection.name,
        generation=number,
        fold_version=projection.fold_version,
        fold_digest=fold_digest(projection),
        active=active,
        state=state,
    )


def active(engine: Engine, projection: str) -> int | None:
    """Returns the generation that readers follow; None before the projection first ran."""
    with engine.connect() as connection:
        return connection.execute(_active(projection)).scalar_one_or_none()


def active_on(held: HeldConnection, projection: str) -> int | None:
    """As ``active``, for a reader that asks every second."""
    row = held.one_or_none(_active(projection), {})
    return None if row is None else int(row[0])


def _active(projection: str) -> Select[int]:
    return select(c.generation).where(c.projection == projection, c.active)
