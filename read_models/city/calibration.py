"""The scores of answers by hour of completion, kept up to date change by change, and the calibration that they give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from domain.features.calibration.adjustment import Calibration, Cell
from domain.features.calibration.fold import PARTIAL_SLOTS, cell_of
from domain.features.calibration.online import closed_hours
from domain.features.calibration.recurrence import Recurrence, cities_of, of_cities
from read_models.city.hours import PermanentSums

SCORE_SLOTS: Final = range(PARTIAL_SLOTS)
_DIGEST_BYTES = 16
_KEPT_STARTS: Final = 24
"""The recurrence is kept as of so many last hours: a late outcome of them does not repeat all 28 days."""


class ScoreHours:
    """Counts of scores over all shards, by hour since the epoch. An hour that no slot has any more counts as empty.

    A snapshot needs the thresholds alone. The digest covers all counts: one that is wrong in any hour of any cell
    changes it, and with it the digest of the snapshot.
    """

    def __init__(self) -> None:
        self._hours: dict[int, dict[Cell, tuple[int, ...]]] = {}
        self._buckets: dict[int, int] = {}
        self._digests = [b""] * PARTIAL_SLOTS
        self._starts: dict[int, Recurrence] = {}
        self._window = range(0)
        self._cities: frozenset[str] = frozenset()
        self._found: Calibration | None = None
        self._changed: set[int] = set()

    def update(self, sums: PermanentSums, buckets: Mapping[int, int], changed: Mapping[int, Iterable[str]]) -> None:
        """Take over the ``changed`` fields of each slot from ``sums``, whose hours are in ``buckets``."""
        for slot, fields in changed.items():
            now, before = buckets.get(slot), self._buckets.pop(slot, None)
            if before is not None and before != now:
                self._hours.pop(before, None)
                self._changed.add(before)
            self._digests[slot] = b"" if now is None else _digest_of(now, sums.get(slot, {}))
            if now is None:
                continue
            self._buckets[slot] = now
            counts, new = self._hours.setdefault(now, {}), sums.get(slot, {})
            for field in fields:
                bins = new.get(field)
                if bins is None:
                    counts.pop(cell_of(field), None)
                else:
                    counts[cell_of(field)] = bins
            self._changed.add(now)

    def digest(self) -> bytes:
        """A digest of the counts of all hours."""
        return blake2b(
            b"".join(each.ljust(_DIGEST_BYTES) for each in self._digests), digest_size=_DIGEST_BYTES
        ).digest()

    def calibration(self, at_ms: int) -> Calibration:
        """The calibration of the hours that are closed at ``at_ms``."""
        window = closed_hours(at_ms)
        first = min((hour for hour in self._changed if hour in window), default=None)
        # What changed outside the window counts for another one, which is computed from its beginning.
        self._changed.clear()
        if self._found is not None and window == self._window and first is None:
            return self._found
        cities = cities_of(self._hours[hour] for hour in window if hour in self._hours)
        if window != self._window or cities != self._cities:
            self._starts.clear()
        # What began before the first change is as before; everything else is computed again.
        start = max((hour for hour in self._starts if first is None or hour <= first), default=window.start)
        recurrence = self._starts[start].copy() if start in self._starts else Recurrence()
        self._starts = {hour: kept for hour, kept in self._starts.items() if hour <= start}
        for hour in range(start, window.stop):
            if hour >= window.stop - _KEPT_STARTS:
                self._starts[hour] = recurrence.copy()
            if hour in self._hours:
                recurrence.add_hour(of_cities(self._hours[hour], cities))
        self._window, self._cities, self._found = window, cities, recurrence.calibration()
        return self._found


def _digest_of(hour: int, sums: Mapping[str, tuple[int, ...]]) -> bytes:
    if not sums:
        # As a slot without any event: a count that came and went leaves no trace.
        return b""
    lines = "\n".join(f"{field} {' '.join(map(str, counts))}" for field, counts in sorted(sums.items()))
    return blake2b(f"{hour}\n{lines}".encode(), digest_size=_DIGEST_BYTES).digest()
