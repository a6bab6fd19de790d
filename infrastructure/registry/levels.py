"""Compatibility levels: which older versions a new one is held against, and in which directions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from infrastructure.registry.compatibility import backward_problems


class Level(StrEnum):
    """BACKWARD: new readers read old data. FORWARD: old readers read new data. FULL: both.

    Held against the latest version; the TRANSITIVE ones against every version.
    """

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def transitive(self) -> bool:
        return self.endswith("_TRANSITIVE")

    @property
    def backward(self) -> bool:
        return self.startswith(("BACKWARD", "FULL"))

    @property
    def forward(self) -> bool:
        return self.startswith(("FORWARD", "FULL"))


DEFAULT = Level.BACKWARD


class Old(NamedTuple):
    """A version that a new schema is held against."""

    version: int
    schema: str


def level_problems(level: Level, new: str, known: Sequence[Old]) -> list[str]:
    """In words, why ``new`` may not follow ``known`` (oldest first) at ``level``; empty = it may.

    Raises InvalidSchema.
    """
    against = known if level.transitive else known[-1:]
    return [
        *(
            f"version {old.version}: {problem}"
            for old in against
            if level.backward
            for problem in backward_problems(new, old.schema)
        ),
        *(
            f"version {old.version} as reader: {problem}"
            for old in against
            if level.forward
            for problem in backward_problems(old.schema, new)
        ),
    ]
