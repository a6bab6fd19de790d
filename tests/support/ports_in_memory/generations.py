"""``projections.rebuild.generations.Generations`` in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation, GenerationState, NotSwitched


class MemoryGenerations:
    """One projection is enough for a test; the pointer moves when the context ends without an error."""

    def __init__(self) -> None:
        self._kept: dict[int, Generation] = {}

    def all(self, projection: str) -> list[Generation]:
        return [g for _, g in sorted(self._kept.items()) if g.projection == projection and g.state != "dropped"]

    def is_dropped(self, projection: str, number: int) -> bool:
        kept = self._kept.get(number)
        return kept is not None and kept.projection == projection and kept.state == "dropped"

    def first(self, projection: Projection[Any]) -> None:
        if not self._kept:
            self._add(projection, active=True, state="following")

    def begin(self, projection: Projection[Any]) -> Generation:
        return self._add(projection, active=False, state="filling")

    def record(self, generation: Generation, state: GenerationState, comparison: Mapping[str, Any] | None) -> None:
        kept = self._kept[generation.number]
        if not kept.active:
            self._kept[kept.number] = kept._replace(state=state, comparison=comparison)

    @contextmanager
    def switching(self, live: Generation, to: Generation) -> Iterator[None]:
        yield
        old, new = self._kept[live.number], self._kept[to.number]
        if not old.active:
            raise NotSwitched(f"generation {old.number} is not the active one any more")
        if new.state == "dropped":
            raise NotSwitched(f"generation {new.number} was dropped meanwhile")
        self._kept[old.number] = old._replace(active=False, state="following")
        self._kept[new.number] = new._replace(active=True, state="following")

    def _add(self, projection: Projection[Any], *, active: bool, state: GenerationState) -> Generation:
        number = len(self._kept) + 1
        made = Generation(projection.name, number, projection.fold_version, fold_digest(projection), active, state)
        self._kept[number] = made
        return made
