"""The findings of an audit of served ETAs, and the description of a difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from domain.timestamps import utc_datetime
from projections.parity.audit import MAX_EXAMPLES, differing_fields
from projections.parity.eta_audit import CheckedEta
from projections.parity.served_etas import EtaVerdict


@dataclass
class EtaFindings:
    """The findings so far; ``examples``: descriptions of differences, at most MAX_EXAMPLES."""

    totals: dict[EtaVerdict, int] = field(default_factory=lambda: dict.fromkeys(EtaVerdict, 0))
    wrong_snapshots: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def checked(self) -> int:
        return sum(self.totals.values())

    @property
    def different(self) -> int:
        return self.totals[EtaVerdict.DIFFERENT]

    def add(self, checked: CheckedEta) -> None:
        """Count the verdict of one answer."""
        self.totals[checked.verdict] += 1
        if checked.verdict == EtaVerdict.DIFFERENT:
            self.add_example(describe_eta(checked))

    def add_example(self, description: str) -> None:
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(description)


def describe_eta(checked: CheckedEta) -> str:
    """One line: what was served and recomputed, and all places that the answer names."""
    eta = checked.logged.eta
    found = list(_differing(eta.body, checked.recomputed)) if checked.recomputed else []
    said = "; ".join(f"{name}: served {served}, recomputed {again}" for name, served, again in found)
    if checked.recomputed and not found:
        said = f"the same values in other bytes: served {eta.body!r}, recomputed {checked.recomputed!r}"
    at = utc_datetime(eta.at_ms).isoformat(timespec="milliseconds")
    rider = "no rider" if eta.rider is None else f"rider {eta.rider_id} {_place(*eta.rider)}"
    city = "no city snapshot" if eta.city_snapshot is None else f"city snapshot {eta.city_snapshot:,}"
    return f"order {eta.order_id}: {said or checked.why} ({_place(*eta.order)}, {rider}, {city}, at {at})"


def _place(generation: int, version: int, position: int) -> str:
    return f"version {version:,} at position {position:,} of generation {generation}"


def _differing(served: bytes, recomputed: bytes) -> Iterator[tuple[str, str, str]]:
    """As ``differing_fields``, feature by feature."""
    for name, one, other in differing_fields(served, recomputed):
        sides = [_members(one), _members(other)]
        if name != "features" or None in sides:
            yield name, one, other
            continue
        before, after = (side or {} for side in sides)
        for feature in [*before, *(each for each in after if each not in before)]:
            if before.get(feature) != after.get(feature):
                one, other = (msgspec.json.encode(side.get(feature)).decode() for side in (before, after))
                yield feature, one, other


def _members(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
