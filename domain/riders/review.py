"""The verdict of a person on an alert."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What a reviewer decided. The values are part of the contract AlertReviewed."""

    CONFIRMED = "confirmed"
    """The reviewer holds the alert to be right. No consequence follows by itself."""
    CLEARED = "cleared"
    """The reviewer found another explanation."""


class AlertReview(NamedTuple):
    """One review of one alert: the verdict, who decided it, and why. With the names of the contract."""

    alert_id: str
    verdict: Verdict
    by: str
    why: str
