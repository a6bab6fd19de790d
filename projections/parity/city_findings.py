"""The findings of the audit of city snapshots, as its process reports them and ``status`` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from projections.parity.audit import MAX_EXAMPLES
from projections.parity.city_audit import CheckedCity, CityVerdict, describe_city

CITY_AUDIT_STAGE = "city-audit"
"""The stage under which the process that audits reports its findings."""


class CityFindings(msgspec.Struct):
    """The findings so far. ``different`` are those of ``generations`` (by projection), the newest audited ones.

    ``number``: of the last audited snapshot, 0 before the first. ``behind``: newer snapshots that wait. ``examples``:
    descriptions of differences, at most MAX_EXAMPLES.
    """

    totals: dict[str, int] = {}
    number: int = 0
    behind: int = 0
    generations: dict[str, int] = {}
    different: int = 0
    restarts: int = 0
    examples: list[str] = []

    @property
    def checked(self) -> int:
        return sum(self.totals.values())

    def add(self, checked: CheckedCity) -> None:
        """Count the verdict of one snapshot."""
        city = checked.city
        generations = {name: vector.generation for name, vector in city.vectors.items()}
        if generations != self.generations:
            # A rebuild replaced what differed: from now on its successor counts.
            self.generations, self.different = generations, 0
        self.number = city.number
        self.totals[checked.verdict] = self.totals.get(checked.verdict, 0) + 1
        if checked.verdict == CityVerdict.DIFFERENT:
            self.different += 1
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append(describe_city(checked))


def findings_of(detail: Mapping[str, Any]) -> CityFindings:
    """The findings of a report; empty if another version of the program wrote it."""
    try:
        return msgspec.convert(detail, CityFindings)
    except msgspec.ValidationError:
        return CityFindings()
