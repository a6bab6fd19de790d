"""The traffic of each hour of the week, by cell, by parent cell and of the fleet, kept up to date change by change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from domain.features.traffic.city import FREE_FLOW_MIN_MM, NONE, Sums
from domain.features.traffic.partials import FIRST_HOUR_SLOT
from domain.features.traffic.steps import HOURS_OF_WEEK, parent_of

PermanentSums = Mapping[int, Mapping[str, tuple[int, ...]]]
"""Slot -> field -> sums over all shards, of the slots that are never replaced."""
HourSums = dict[int, dict[int, Sums]]
"""Cell -> hour of the week -> sums."""
_DIGEST_BYTES = 16


class HoursOfWeek:
    """Sums by place and hour, and the fastest hour of each place.

    A snapshot needs few of these sums. The digest covers all of them: a sum that is wrong in any hour of any cell
    changes it, and with it the digest of the snapshot.
    """

    def __init__(self) -> None:
        self.cells: HourSums = defaultdict(dict)
        self.parents: HourSums = defaultdict(dict)
        self.fleet: dict[int, Sums] = {}
        self.fastest: dict[int, int] = {}
        """Cell or parent cell -> the hour with the lowest pace among those with enough metres; absent if none has."""
        self._digests = [b""] * HOURS_OF_WEEK

    def update(self, sums: PermanentSums, changed: Mapping[int, Iterable[str]]) -> None:
        """Take over the ``changed`` fields of each slot from ``sums``. Slots that are no hours are ignored."""
        stale: set[int] = set()
        for slot, fields in changed.items():
            hour = slot - FIRST_HOUR_SLOT
            if 0 <= hour < HOURS_OF_WEEK:
                now = sums.get(slot, {})
                for field in fields:
                    stale.update(self._change(hour, int(field, 16), now.get(field, NONE)))
                self._digests[hour] = _digest_of(now)
        for place in stale:
            hours = self.cells.get(place) or self.parents.get(place) or {}
            fastest = fastest_hour(hours)
            if fastest is None:
                self.fastest.pop(place, None)
            else:
                self.fastest[place] = fastest

    def digest(self) -> bytes:
        """A digest of the sums of all hours."""
        return blake2b(
            b"".join(each.ljust(_DIGEST_BYTES) for each in self._digests), digest_size=_DIGEST_BYTES
        ).digest()

    def _change(self, hour: int, cell: int, new: tuple[int, ...]) -> tuple[int, int]:
        parent = parent_of(cell)
        old = self.cells[cell].get(hour, NONE)
        ms, mm = new[0] - old[0], new[1] - old[1]
        for place, by_hour in ((cell, self.cells), (parent, self.parents)):
            before = by_hour[place].get(hour, NONE)
            _put(by_hour[place], hour, (before[0] + ms, before[1] + mm))
        before = self.fleet.get(hour, NONE)
        _put(self.fleet, hour, (before[0] + ms, before[1] + mm))
        return cell, parent


def fastest_hour(hours: Mapping[int, Sums]) -> int | None:
    """The hour with the lowest pace of those with at least FREE_FLOW_MIN_MM; of two equal ones, the first."""
    found: int | None = None
    for hour, (ms, mm) in sorted(hours.items()):
        if mm >= FREE_FLOW_MIN_MM and (found is None or ms * hours[found][1] < hours[found][0] * mm):
            found = hour
    return found


def _put(sums: dict[int, Sums], key: int, value: Sums) -> None:
    if any(value):
        sums[key] = value
    else:
        sums.pop(key, None)


def _digest_of(slot: Mapping[str, tuple[int, ...]]) -> bytes:
    if not slot:
        # As an hour without any event: a sum that came and went leaves no trace.
        return b""
    lines = "\n".join(f"{field} {' '.join(map(str, amounts))}" for field, amounts in sorted(slot.items()))
    return blake2b(lines.encode(), digest_size=_DIGEST_BYTES).digest()
