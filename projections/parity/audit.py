"""Checks served reads and records the verdicts, for ``verify-parity`` and for the audit next to the service.

Differences are described field by field, for the person who looks for the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from domain.timestamps import utc_datetime
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshots
from projections.parity.checker import CheckedRead, ParityChecker
from projections.parity.key_walk import WalkBudget
from projections.parity.served_reads import LoggedRead, ReadVerdict, ServedReads, WrongSnapshot
from projections.replay.source import ReplaySource

_ABSENT = "nothing"
_PLACE_FIELDS = frozenset({"latitude", "longitude"})
"""Fields whose values no description has: it goes to a log, next to the rider's id. ``replay`` shows them."""


def describe_difference(checked: CheckedRead) -> str:
    """One line: the served values, the recomputed ones, and the place in the log. It has no location."""
    read = checked.logged.read
    found = list(differing_fields(read.body, checked.recomputed)) if checked.recomputed else []
    said = "; ".join(
        f"{name}: other than recomputed" if name in _PLACE_FIELDS else f"{name}: served {served}, recomputed {again}"
        for name, served, again in found
    )
    if checked.recomputed and not found:
        at_byte = first_other_byte(read.body, checked.recomputed)
        said = f"the same values in other bytes: {len(read.body):,} served, another one from byte {at_byte:,} on"
    message = "; ".join(part for part in (said, checked.why) if part)
    at = utc_datetime(read.read_ms).isoformat(timespec="milliseconds")
    return (
        f"{read.key}: {message} (version {read.version:,}, position {read.position:,}, "
        f"generation {read.generation}, read at {at})"
    )


def describe_wrong_snapshot(found: WrongSnapshot) -> str:
    """One line: which state snapshot was wrong, and that it was replaced."""
    return (
        f"{found.key}: the state snapshot of live folding at version {found.version:,} (position "
        f"{found.position:,}, generation {found.generation}) is not the fold of the events; it has been replaced"
    )


def first_other_byte(one: bytes, other: bytes) -> int:
    """The place of the first byte in which two texts differ, from 0."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def differing_fields(served: bytes, recomputed: bytes) -> Iterator[tuple[str, str, str]]:
    """(name, served, recomputed) of each field that differs, as JSON. A body that is no JSON is not quoted."""
    try:
        one, other = _object(served), _object(recomputed)
    except msgspec.DecodeError as error:
        yield "body", f"{len(served):,} bytes ({error})", f"{len(recomputed):,} bytes"
        return
    for name in [*one, *(name for name in other if name not in one)]:
        shown = [_shown(side, name) for side in (one, other)]
        if shown[0] != shown[1]:
            yield name, shown[0], shown[1]


def _object(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def _shown(side: dict[str, Any], name: str) -> str:
    return msgspec.json.encode(side[name]).decode() if name in side else _ABSENT


S = TypeVar("S")

MAX_WAITING_VERDICTS = 5_000
"""Verdicts that wait to be written. An aborted check repeats at most so many reads."""
MAX_EXAMPLES = 10
"""Descriptions of differences that are kept; all differences are counted."""


@dataclass
class AuditFindings:
    """The findings so far.

    ``examples`` are descriptions, at most MAX_EXAMPLES. ``generations`` are those of the answers that differ.
    """

    totals: dict[ReadVerdict, int] = field(default_factory=lambda: dict.fromkeys(ReadVerdict, 0))
    wrong_snapshots: int = 0
    events: int = 0
    examples: list[str] = field(default_factory=list)
    generations: set[int] = field(default_factory=set)

    @property
    def reads(self) -> int:
        return sum(self.totals.values())

    @property
    def mismatches(self) -> int:
        return self.totals[ReadVerdict.DIFFERENT] + self.wrong_snapshots

    def add_example(self, description: str) -> None:
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(description)

    def add(self, other: AuditFindings) -> None:
        """Add the findings of another part of the reads."""
        for verdict, count in other.totals.items():
            self.totals[verdict] += count
        self.wrong_snapshots += other.wrong_snapshots
        self.events += other.events
        self.generations |= other.generations
        for description in other.examples:
            self.add_example(description)


class Audit(Generic[S]):
    """Checks the served reads of one projection and records the verdicts.

    Raises PortUnavailable, and what ``decode`` raises while the schema registry is unavailable. Verdicts recorded
    before that stay recorded.
    """

    def __init__(
        self,
        source: ReplaySource[S],
        snapshots: StateSnapshots,
        reads: ServedReads,
        *,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        self._reads = reads
        self._checker = ParityChecker(source, snapshots, self._on_wrong_snapshot, snapshot_interval=snapshot_interval)
        self._found = AuditFindings()

    def run(
        self,
        source: Iterable[LoggedRead],
        budget: WalkBudget | None = None,
        on_progress: Callable[[AuditFindings], None] = lambda found: None,
    ) -> AuditFindings:
        """Check ``source``, by key and version, within the budget.

        ``on_progress`` is called every 500 reads and at the end.
        """
        found = self._found = AuditFindings()
        folded = self._checker.events
        changed: dict[ReadVerdict, list[int]] = {}
        waiting = 0
        for one in self._checker.check(source, budget):
            found.totals[one.verdict] += 1
            if one.verdict == ReadVerdict.DIFFERENT:
                found.generations.add(one.logged.read.generation)
                found.add_example(describe_difference(one))
            if one.verdict != one.logged.verdict:
                changed.setdefault(one.verdict, []).append(one.logged.id)
                waiting += 1
            if waiting >= MAX_WAITING_VERDICTS:
                self._reads.record(changed)
                changed, waiting = {}, 0
            if found.reads % 500 == 0:
                found.events = self._checker.events - folded
                on_progress(found)
        self._reads.record(changed)
        found.events = self._checker.events - folded
        on_progress(found)
        return found

    def _on_wrong_snapshot(self, found: WrongSnapshot) -> None:
        self._reads.record_wrong(found)
        self._found.wrong_snapshots += 1
        self._found.generations.add(found.generation)
        self._found.add_example(describe_wrong_snapshot(found))
