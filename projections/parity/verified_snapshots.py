"""Saves state snapshots that were folded from the log alone, and reports the stored ones that differ from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from projections.core.snapshots import StateSnapshot, StateSnapshots
from projections.parity.served_reads import WrongSnapshot

OnWrongSnapshot = Callable[[WrongSnapshot], None]
"""Called with each stored snapshot that is not the fold of the events, before it is replaced."""


class VerifiedSnapshots:
    """The snapshots of one projection. Raises PortUnavailable, SinkRejected."""

    def __init__(self, snapshots: StateSnapshots, on_wrong_snapshot: OnWrongSnapshot) -> None:
        self._snapshots = snapshots
        self._on_wrong_snapshot = on_wrong_snapshot

    def save(self, folded: Iterable[tuple[StateSnapshot, int]]) -> None:
        """Compare ``folded``, each with the generation of the answer that was walked to, and save them as verified."""
        fresh: list[StateSnapshot] = []
        for made, generation in folded:
            kept = self._snapshots.at(made.key, made.position)
            if kept is not None and kept.version == made.version:
                if kept.state != made.state:
                    # Recorded before it is repaired: a crash between the two only finds it once more.
                    self._on_wrong_snapshot(
                        WrongSnapshot(made.key, generation, made.version, made.position, kept.state, made.state)
                    )
                elif kept.verified:
                    continue
            fresh.append(made)
        if fresh:
            self._snapshots.save(fresh, verified=True)
