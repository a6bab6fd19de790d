"""The commands on riders that people give: reviewing an alert, closing a statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.commands import Command, digest_of
from domain.deliveries.values import MAX_TEXT_CODE_POINTS, check_currency, check_text
from domain.errors import InvalidType, InvalidVerdict
from domain.identifiers import check_rider_id, is_event_id
from domain.riders.periods import check_period
from domain.riders.review import AlertReview, Verdict

MAX_WHY_CODE_POINTS = 1_000
"""Bounds the reason of a review, which is recorded, folded and shown to people."""


@dataclass(frozen=True, kw_only=True)
class RiderCommand(Command):
    """A command on one rider, given by the person ``by``."""

    KEY_FIELD: ClassVar[str] = "rider_id"

    rider_id: str
    by: str

    def check(self) -> None:
        """Check every value. No rider is needed for it.

        Raises:
            InvalidRiderId: as named.
            InvalidType: a text is missing, too long or not printable; otherwise as ``Command.check`` raises.
        """
        check_rider_id(self.rider_id)
        super().check()
        _check_said("by", self.by, MAX_TEXT_CODE_POINTS)


@dataclass(frozen=True, kw_only=True)
class ReviewAlert(RiderCommand):
    """A person decides on an alert: ``verdict`` is a value of Verdict, ``alert_id`` a UUID."""

    VERB: ClassVar[str] = "review"

    alert_id: str
    verdict: str
    why: str

    def check(self) -> None:
        """Raises InvalidVerdict, and what ``RiderCommand.check`` raises."""
        super().check()
        if not is_event_id(self.alert_id):
            raise InvalidType("alert_id must be a UUID")
        if self.verdict not in set(Verdict):
            raise InvalidVerdict(f"verdict must be {' or '.join(Verdict)}")
        _check_said("why", self.why, MAX_WHY_CODE_POINTS)

    @property
    def review(self) -> AlertReview:
        return AlertReview(self.alert_id.lower(), Verdict(self.verdict), self.by, self.why)


@dataclass(frozen=True, kw_only=True)
class CloseStatement(RiderCommand):
    """A person closes a rider's statements in ``currency`` (ISO 4217) up to ``period``, an ISO week in UTC."""

    VERB: ClassVar[str] = "close-statement"

    period: str
    currency: str

    def check(self) -> None:
        """Raises InvalidPeriod or InvalidCurrency, and what ``RiderCommand.check`` raises."""
        super().check()
        check_period(self.period)
        check_currency(self.currency)


def content_digest(review: AlertReview) -> str:
    """Hex digest of what a review says, by which a repeat is recognised. Stored in snapshots, so it never changes."""
    return digest_of([review.verdict.value, review.by, review.why])


def _check_said(name: str, value: str, most: int) -> None:
    """Raises InvalidType unless the text says something: a blank name or reason is none."""
    check_text(name, value, most, least=1)
    if not value.strip():
        raise InvalidType(f"{name} must not be blank")
