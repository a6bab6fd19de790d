"""Checks that every served answer equals a fold of the event store, byte for byte (invariant 8).

An answer is recomputed from the events alone: by folding its key from the first event, or from a verified state
snapshot, which was folded in the same way. A snapshot of live folding is not a valid start: its fault would be on both
sides and compare equal. It is compared on the way like an answer, and counts as verified only after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any, Generic, NamedTuple, TypeVar

from projections.core.fold import Fold
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshots
from projections.digest.digest import fold_digest, view_digest
from projections.parity.key_walk import KeyWalk, WalkBudget
from projections.parity.served_reads import LoggedRead, ReadVerdict, ServedRead
from projections.parity.verified_snapshots import OnWrongSnapshot, VerifiedSnapshots
from projections.replay.source import ReplaySource
from read_models.view import body_of

S = TypeVar("S")

MAX_BATCH_READS = 5_000
"""Reads held in memory at once (invariant 15)."""


class CheckedRead(NamedTuple):
    """A read and its verdict. For DIFFERENT: the ``recomputed`` body, or ``why`` none could be computed."""

    logged: LoggedRead
    verdict: ReadVerdict
    recomputed: bytes = b""
    why: str = ""


class ParityChecker(Generic[S]):
    """Checks served reads of one projection that has a view.

    ``on_wrong_snapshot`` is called with each stored snapshot that is not the fold of the events.
    """

    def __init__(
        self,
        source: ReplaySource[S],
        snapshots: StateSnapshots,
        on_wrong_snapshot: OnWrongSnapshot,
        *,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
        batch_reads: int = MAX_BATCH_READS,
    ) -> None:
        projection = source.projection
        if projection.view is None:
            raise ValueError(f"{projection.name} serves no view of a key: there is nothing to compare")
        self._projection = projection
        self._view = projection.view
        self._digests = (fold_digest(projection), view_digest(projection))
        self._source = source
        self._archive = source.archive
        self._snapshots = snapshots
        # The clock only dates parked events, which are not part of the answer.
        self._fold = Fold(projection, source.decode, lambda: 0, snapshot_interval)
        self._verified = VerifiedSnapshots(snapshots, on_wrong_snapshot)
        self._snapshot_interval = snapshot_interval
        self._batch_reads = batch_reads
        self._features: tuple[S | None, Any] = (None, None)
        self.events = 0
        """Events folded so far."""

    def check(self, reads: Iterable[LoggedRead], budget: WalkBudget | None = None) -> Iterator[CheckedRead]:
        """Check ``reads``, which come by key and version. Reads that the budget does not reach are left out.

        Raises PortUnavailable, and what ``decode`` raises while the schema registry is unavailable.
        """
        walk: KeyWalk[S] | None = None
        source = iter(reads)
        while batch := list(islice(source, self._batch_reads)):
            # Read after the served reads, so that every discard that preceded one of them is known.
            discarded = self._archive.discarded(self._projection.name)
            for key, group in groupby(batch, lambda logged: logged.read.key):
                if walk is None or walk.key != key or walk.discarded != discarded:
                    walk = self._walk(key, discarded)
                yield from self._check_key(walk, list(group), budget or WalkBudget())
                self._verified.save(walk.take_snapshots())

    def _walk(self, key: str, discarded: frozenset[int]) -> KeyWalk[S]:
        return KeyWalk(self._source, self._fold, self._snapshots, key, discarded, self._snapshot_interval)

    def _check_key(self, walk: KeyWalk[S], reads: list[LoggedRead], budget: WalkBudget) -> Iterator[CheckedRead]:
        budget.next_key()
        yield from self._check_missing(walk, [logged for logged in reads if logged.read.is_missing], budget)
        reads = [logged for logged in reads if not logged.read.is_missing]
        last = reads[-1].read.version if reads else 0
        for logged in reads:
            if (logged.fold_digest, logged.view_digest) != self._digests:
                yield CheckedRead(logged, ReadVerdict.OTHER_CODE)
                continue
            walk.generation = logged.read.generation
            before = walk.events
            reached = walk.walk_to(logged.read.version, logged.read.position, last, budget)
            self.events += walk.events - before
            if not reached:
                return
            yield self._check_read(walk, logged)

    def _check_missing(self, of: KeyWalk[S], reads: list[LoggedRead], budget: WalkBudget) -> Iterator[CheckedRead]:
        """Check answers that the key is unknown, with a walk of their own: they name a position and no version."""
        walk = self._walk(of.key, of.discarded)
        for logged in sorted(reads, key=lambda one: one.read.position):
            read = logged.read
            if (logged.fold_digest, logged.view_digest) != self._digests:
                yield CheckedRead(logged, ReadVerdict.OTHER_CODE)
                continue
            version = self._archive.last_version(self._projection.stream, of.key, read.position)
            if version == 0:
                # The answer was recorded because the log had the key then.
                yield CheckedRead(logged, ReadVerdict.LOG_RESTORED)
                continue
            walk.generation = read.generation
            before = walk.events
            reached = walk.walk_to(version, read.position, version, budget)
            self.events += walk.events - before
            if not reached:
                break
            # A key whose first event is parked or discarded has no state, and is answered as unknown too.
            lost = walk.run.state is not None
            why = f"answered as unknown, although the log had version {version:,} of it by then" if lost else ""
            yield CheckedRead(logged, ReadVerdict.DIFFERENT if lost else ReadVerdict.EQUAL, why=why)
        self._verified.save(walk.take_snapshots())

    def _check_read(self, walk: KeyWalk[S], logged: LoggedRead) -> CheckedRead:
        read = logged.read
        if (walk.version, walk.position) != (read.version, read.position):
            return CheckedRead(logged, ReadVerdict.LOG_RESTORED)
        if walk.run.state is None:
            return CheckedRead(
                logged, ReadVerdict.DIFFERENT, why=walk.parked_reason() or "nothing of the key can be folded"
            )
        try:
            body = self._body(walk.run.state, read)
        except Exception as error:  # noqa: BLE001  (any error of a view is a finding)
            # A served state whose row cannot be computed is a difference, and must not stop the check of other keys.
            return CheckedRead(logged, ReadVerdict.DIFFERENT, why=f"{type(error).__name__}: {error}")
        if body == read.body:
            return CheckedRead(logged, ReadVerdict.EQUAL)
        return CheckedRead(logged, ReadVerdict.DIFFERENT, body, walk.parked_reason())

    def _body(self, state: S, read: ServedRead) -> bytes:
        if self._features[0] is not state:
            # Features cost most and depend on the state alone; reads of one version differ only in age.
            self._features = (state, self._view.features(state))
        row = self._view.row(read.key, self._features[1], read.read_ms, read.limits, read.allow_expired)
        return body_of(row | {"generation": read.generation})
