"""How a rebuild ended, and the errors with which it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from projections.core.ports import ParkedEvent
from projections.rebuild.comparison import GenerationComparison
from projections.rebuild.generations import Generation


class RebuildVerdict(StrEnum):
    """How a rebuild or a rollback ended; the values are printed as JSON."""

    SWITCHED = "switched"
    """Readers follow the new generation."""
    EQUAL = "equal"
    """Compared only; the generations do not differ."""
    DIFFERS = "differs"
    """Compared only; the generations differ."""
    BLOCKED = "blocked"
    """The same fold version gave another result. Not switched: no change of the fold explains the differences."""
    NEEDS_ACCEPTANCE = "needs acceptance"
    """Another fold version gave another result. Not switched until a person accepts the differences by their digest."""


class NoGenerationToRollBackTo(Exception):
    """No generation can be switched to, or the projection has no active one."""


class DigestMismatch(Exception):
    """The accepted digest is not that of the differences that were found."""


class RebuildParkedKey(NamedTuple):
    """A key whose event could not be folded, and that event."""

    key: str
    event: ParkedEvent


@dataclass
class RebuildOutcome:
    """The result of a rebuild or of a rollback."""

    verdict: RebuildVerdict
    live: Generation
    new: Generation
    comparison: GenerationComparison | None = None
    parked: list[RebuildParkedKey] = field(default_factory=list)
    ready: bool = False
    """Whether readers may be switched to ``new``: it equals the live one, or its differences were accepted."""
