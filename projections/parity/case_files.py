"""Compares the stored case files of a rider with those that the log gives. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class CaseVerdict(StrEnum):
    """How a stored case file differs from the log."""

    DIFFERENT = "different"
    """The log gives other bytes."""
    NOT_IN_THE_LOG = "not in the log"
    """The log gives no alert of this id."""
    MISSING = "missing"
    """The log gives an alert that is not stored."""


class CaseDifference(NamedTuple):
    """One case file that differs."""

    alert_id: str
    verdict: CaseVerdict


def compare_cases(stored: Mapping[str, bytes], replayed: Mapping[str, bytes]) -> list[CaseDifference]:
    """The alerts whose files differ, by id. Both sides are of one rider, as of the same event."""
    found = []
    for alert_id in sorted({*stored, *replayed}):
        if alert_id not in replayed:
            found.append(CaseDifference(alert_id, CaseVerdict.NOT_IN_THE_LOG))
        elif alert_id not in stored:
            found.append(CaseDifference(alert_id, CaseVerdict.MISSING))
        elif stored[alert_id] != replayed[alert_id]:
            found.append(CaseDifference(alert_id, CaseVerdict.DIFFERENT))
    return found
