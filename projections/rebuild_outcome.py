"""What may become of a rebuild or of a rollback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from projections.comparison import Comparison
from projections.generations import Generation
from projections.ports import Parked

Verdict = Literal["switched", "equal", "differs", "blocked", "needs acceptance"]
"""``equal`` and ``differs``: compared only. ``blocked``: the same fold gave another result, which nothing excuses."""


class Nothing(Exception):
    """There is no generation to go to."""


class NotAccepted(Exception):
    """Other differences were accepted than those that were found."""


class ParkedKey(NamedTuple):
    """An event that could not be folded, and its key."""

    key: str
    mark: Parked


@dataclass
class Outcome:
    """What became of a rebuild or of a rollback."""

    verdict: Verdict
    live: Generation
    new: Generation
    comparison: Comparison | None = None
    parked: list[ParkedKey] = field(default_factory=list)
