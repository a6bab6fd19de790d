"""Generations: numbered builds of one read model, each written by one version of its fold (invariant 9)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

from projections.core.projection import Projection
from projections.digest.digest import fold_digest

GenerationState = Literal["filling", "compared", "ready", "following", "dropped"]
"""``filling``: a rebuild writes it. ``compared``: differences wait for a person. ``ready``: it may be switched to.
``following``: it is or was active. ``dropped``: gone; its number is never used again. Ready and following ones are kept
up to date by every process that has their fold."""

MAINTAINED_STATES: frozenset[GenerationState] = frozenset({"ready", "following"})


class Generation(NamedTuple):
    """One generation; ``comparison`` is what was found when it was held against the live one, None before."""

    projection: str
    number: int
    fold_version: int
    fold_digest: str
    active: bool
    state: GenerationState
    comparison: Mapping[str, Any] | None = None

    def is_of(self, projection: Projection[Any]) -> bool:
        """Whether this code may write to it."""
        return (self.fold_version, self.fold_digest) == (projection.fold_version, fold_digest(projection))


class NotSwitched(Exception):
    """The pointer was not moved: another generation is active than the one that was compared with."""


class Generations(Protocol):
    """Where generations are recorded. Raises PortUnavailable."""

    def all(self, projection: str) -> list[Generation]:
        """Those not dropped, by number."""
        ...

    def first(self, projection: Projection[Any]) -> None:
        """Make generation 1, active, unless the projection has ever had one."""
        ...

    def begin(self, projection: Projection[Any]) -> Generation:
        """A new one in state ``filling``, with a number never used before."""
        ...

    def record(self, generation: Generation, state: GenerationState, comparison: Mapping[str, Any] | None) -> None:
        """Its new state, and what the comparison found."""
        ...

    def switching(self, live: Generation, to: Generation) -> AbstractContextManager[None]:
        """While the context is open nobody writes to ``live``, where the store can hold it; at its end, in the same
        atomic step, readers follow ``to``. An exception inside leaves everything as it was. Raises NotSwitched."""
        ...


def active(generations: list[Generation]) -> Generation | None:
    """The one that readers follow."""
    return next((g for g in generations if g.active), None)


def is_kept_up(generation: Generation, projection: Projection[Any]) -> bool:
    """Whether a process with this code keeps the generation up to date."""
    return generation.state in MAINTAINED_STATES and generation.is_of(projection)
