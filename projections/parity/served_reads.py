"""Answers that were given, as they are kept to be computed again. Port and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from read_models.view import ViewLimits

Verdict = Literal["equal", "different", "other code", "log restored"]
"""``equal`` and ``different``: byte for byte. ``other code``: another fold or view made the answer, so nothing can be
said here. ``log restored``: the log has not the event that was the last one in it; it was set back since."""


class ServedRead(NamedTuple):
    """One answer, and all that it depends on besides the events: the one clock reading of its request (epoch ms), the
    limits, and what was asked for. ``version`` and ``position`` are of the last event folded into it.

    The answer that there is nothing of the key has version 0 and no body. Its ``position`` is that of the fence: every
    event of the key up to there had been folded.
    """

    key: str
    generation: int
    version: int
    position: int
    read_ms: int
    limits: ViewLimits
    allow_expired: bool
    body: bytes

    @property
    def is_missing(self) -> bool:
        """Whether the answer was that the key is not known."""
        return self.version == 0 and not self.body


class LoggedRead(NamedTuple):
    """A read as it was kept, with the digests of the code that made it, and the verdict on record."""

    id: int
    fold_digest: str
    view_digest: str
    verdict: Verdict | None
    read: ServedRead


class ReadTally(NamedTuple):
    """What is on record. ``mismatches``: of the generation that readers follow, wrong checkpoints included."""

    checked: int
    unchecked: int
    mismatches: int
    generation: int | None


class WrongSnapshot(NamedTuple):
    """A checkpoint that live folding had left, which is not what the log says. It is replaced by what the log says."""

    key: str
    generation: int
    version: int
    position: int
    kept: bytes
    folded: bytes


class ServedReads(Protocol):
    """The kept reads of one projection. Raises PortUnavailable."""

    def count(self, since_ms: int) -> int:
        """Reads at ``since_ms`` (epoch ms) or later."""
        ...

    def scan(self, since_ms: int) -> Iterator[LoggedRead]:
        """The same by key (in code point order) and version, as they are at one instant, in bounded memory."""
        ...

    def unchecked(self, limit: int) -> list[LoggedRead]:
        """At most so many without a verdict, by key and version: half of the oldest, half of the newest."""
        ...

    def record(self, verdicts: Mapping[Verdict, Sequence[int]]) -> None:
        """Verdicts on reads by their ids. ``other code`` never takes the place of another verdict: it knows less."""
        ...

    def record_wrong(self, wrong: WrongSnapshot) -> None:
        """Put a wrong checkpoint on record, once."""
        ...
