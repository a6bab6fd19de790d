"""Generations: numbered builds of one read model, each written by one version of its fold (invariant 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

from projections.core.projection import Projection
from projections.digest.digest import fold_digest

GenerationState = Literal["filling", "compared", "ready", "following", "dropped"]
"""``filling``: a rebuild writes it. ``compared``: its differences wait for a person. ``ready``: readers may be switched
to it. ``following``: it is or was active. ``dropped``: its content is deleted, and its number is never used again.
Every process that has the fold keeps ready and following generations up to date."""

MAINTAINED_STATES: frozenset[GenerationState] = frozenset({"ready", "following"})


class Generation(NamedTuple):
    """One generation. ``comparison`` is the result of comparing it with the live one, None before that."""

    projection: str
    number: int
    fold_version: int
    fold_digest: str
    active: bool
    state: GenerationState
    comparison: Mapping[str, Any] | None = None

    def is_of(self, projection: Projection[Any]) -> bool:
        """Whether this code may write to it: fold version and digest are the same."""
        return (self.fold_version, self.fold_digest) == (projection.fold_version, fold_digest(projection))


class NotSwitched(Exception):
    """Nothing was switched or dropped: a generation is not in the state that this needs. The message says which."""


class Generations(Protocol):
    """Stores the generations. Raises PortUnavailable."""

    def all(self, projection: str) -> list[Generation]:
        """Generations that are not dropped, by number."""
        ...

    def is_dropped(self, projection: str, number: int) -> bool:
        """Whether the generation is recorded as dropped. An aborted drop may have left some of its content."""
        ...

    def first(self, projection: Projection[Any]) -> None:
        """Create generation 1 as the active one, unless the projection has ever had a generation."""
        ...

    def begin(self, projection: Projection[Any]) -> Generation:
        """Create a generation in state ``filling``, with a number never used before."""
        ...

    def record(self, generation: Generation, state: GenerationState, comparison: Mapping[str, Any] | None) -> None:
        """Store its new state and the result of the comparison."""
        ...

    def switching(self, live: Generation, to: Generation) -> AbstractContextManager[None]:
        """Switch readers to ``to`` at the end of the context, in one atomic step.

        While the context is open, the store blocks writes to ``live`` if it can. An exception inside leaves
        everything as it was. Raises NotSwitched.
        """
        ...


def active(generations: Sequence[Generation]) -> Generation | None:
    """The generation that readers follow."""
    return next((g for g in generations if g.active), None)


def is_kept_up(generation: Generation, projection: Projection[Any]) -> bool:
    """Whether a process with this code keeps the generation up to date."""
    return generation.state in MAINTAINED_STATES and generation.is_of(projection)
