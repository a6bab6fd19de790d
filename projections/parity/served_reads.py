"""Served answers, recorded so that they can be recomputed. Port and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from read_models.view import ViewLimits


class ReadVerdict(StrEnum):
    """The result of checking one answer; the values are stored and printed."""

    EQUAL = "equal"
    """The recomputed answer has the same bytes."""
    DIFFERENT = "different"
    """The recomputed answer has other bytes, or none could be computed."""
    OTHER_CODE = "other code"
    """Another fold or view made the answer, so this code cannot check it."""
    LOG_RESTORED = "log restored"
    """The log does not have the answer's last event: the log was restored to an older state since."""


class ServedRead(NamedTuple):
    """One answer, and everything that it depends on besides the events.

    That is the one clock reading of its request (epoch ms), the limits, and the request itself. ``version`` and
    ``position`` are those of the last event folded into it.

    An answer that the key is unknown has version 0 and no body. Its ``position`` is that of the fence: all events of
    the key up to there had been folded.
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
    """A recorded read, with the digests of the code that made it, and its verdict, None if it is unchecked."""

    id: int
    fold_digest: str
    view_digest: str
    verdict: ReadVerdict | None
    read: ServedRead


class ReadTally(NamedTuple):
    """Counts of recorded reads. ``mismatches`` are those of the active generation, including wrong snapshots."""

    checked: int
    unchecked: int
    mismatches: int
    generation: int | None


class WrongSnapshot(NamedTuple):
    """A state snapshot of live folding that is not the fold of the events (``kept``); it is replaced by ``folded``."""

    key: str
    generation: int
    version: int
    position: int
    kept: bytes
    folded: bytes


class ServedReads(Protocol):
    """The recorded reads of one projection. Raises PortUnavailable."""

    def count(self, since_ms: int) -> int:
        """Reads at ``since_ms`` (epoch ms) or later."""
        ...

    def scan(self, since_ms: int) -> Iterator[LoggedRead]:
        """Those reads by key (in code point order) and version, as of one instant, in bounded memory."""
        ...

    def unchecked(self, limit: int) -> list[LoggedRead]:
        """At most ``limit`` reads without a verdict, by key and version: half the oldest, half the newest."""
        ...

    def record(self, verdicts: Mapping[ReadVerdict, Sequence[int]]) -> None:
        """Record verdicts by the ids of their reads. OTHER_CODE never replaces another verdict: it says less."""
        ...

    def record_wrong(self, wrong: WrongSnapshot) -> None:
        """Record a wrong snapshot, once."""
        ...
