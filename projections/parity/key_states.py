"""The states of one projection's keys at the places that served answers name, each key folded forward once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Generic, NamedTuple, TypeVar

from projections.core.fold import Fold
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshots
from projections.parity.key_walk import KeyWalk, WalkBudget
from projections.parity.served_etas import EtaPlace, EtaVerdict
from projections.parity.verified_snapshots import OnWrongSnapshot, VerifiedSnapshots
from projections.replay.as_of import AsOf, Unresolvable
from projections.replay.source import ReplaySource

S = TypeVar("S")

MAX_WALKS = 2_000
"""Keys whose walk is kept, some kilobytes each; of another key the events after its last verified snapshot are folded
again (invariant 15)."""


class StateAt(NamedTuple, Generic[S]):
    """The state at a place; or the ``verdict`` on answers that name it, and ``why``."""

    state: S | None
    verdict: EtaVerdict | None = None
    why: str = ""


class KeyStates(Generic[S]):
    """Folds keys from the events alone. Places of a key that never go back cost one fold an event."""

    def __init__(
        self,
        source: ReplaySource[S],
        snapshots: StateSnapshots,
        on_wrong_snapshot: OnWrongSnapshot,
        *,
        max_walks: int = MAX_WALKS,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        self._source = source
        self._snapshots = snapshots
        self._verified = VerifiedSnapshots(snapshots, on_wrong_snapshot)
        self._max_walks = max_walks
        self._snapshot_interval = snapshot_interval
        # The clock only dates parked events, which are not part of an answer.
        self._fold = Fold(source.projection, source.decode, lambda: 0, snapshot_interval)
        self._walks: OrderedDict[str, KeyWalk[S]] = OrderedDict()
        self.events = 0
        """Events folded so far."""

    def discarded(self) -> frozenset[int]:
        """The positions discarded by now: to be read after the answers, so that each that preceded one is known."""
        return self._source.archive.discarded(self._source.projection.name)

    def forget(self) -> None:
        """Forget what was folded: the log is another one."""
        self._walks.clear()

    def at(
        self, key: str, places: Collection[EtaPlace], discarded: frozenset[int], budget: WalkBudget
    ) -> dict[EtaPlace, StateAt[S]]:
        """The states of a key at ``places``. Those that the budget does not reach are absent.

        Raises PortUnavailable, and what ``decode`` raises while the schema registry is unavailable.
        """
        budget.next_key()
        found: dict[EtaPlace, StateAt[S]] = {}
        last = max(place.version for place in places)
        walk = self._walks.pop(key, None)
        for place in sorted(places, key=lambda one: (one.version, one.position, one.generation)):
            if walk is None or walk.version > place.version or walk.discarded != discarded:
                walk = KeyWalk(self._source, self._fold, self._snapshots, key, discarded, self._snapshot_interval)
            walk.generation = place.generation
            before = walk.events
            reached = walk.walk_to(place.version, place.position, last, budget)
            self.events += walk.events - before
            if not reached:
                break
            found[place] = self._state(walk, place)
        if walk is not None:
            self._verified.save(walk.take_snapshots())
            self._walks[key] = walk
        while len(self._walks) > self._max_walks:
            self._walks.popitem(last=False)
        return found

    def _state(self, walk: KeyWalk[S], place: EtaPlace) -> StateAt[S]:
        if (walk.version, walk.position) != (place.version, place.position):
            return self._missing(walk, place)
        if walk.run.state is None:
            why = walk.parked_reason() or "nothing of the key can be folded"
            return StateAt(None, EtaVerdict.DIFFERENT, f"{walk.key}: {why}")
        return StateAt(walk.run.state)

    def _missing(self, walk: KeyWalk[S], place: EtaPlace) -> StateAt[S]:
        archive, stream = self._source.archive, self._source.projection.stream
        try:
            archive.horizon(AsOf.at_position(place.position))
        except Unresolvable as error:
            detached = error.code == "log_begins_later"
        else:
            # The beginning alone was detached: later events of the key are there.
            last = archive.last_version(stream, walk.key, place.position)
            detached = walk.version < place.version <= last
        if detached:
            return StateAt(None, EtaVerdict.DETACHED, f"events of {walk.key} were detached from the log")
        why = f"the log has no event {place.version:,} of {walk.key} at position {place.position:,}"
        return StateAt(None, EtaVerdict.LOG_RESTORED, why)
