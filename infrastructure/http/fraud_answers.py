"""What ``/fraud`` answers: alerts, the evidence of one, what a rider may read, and a recorded review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec

from domain.features.case_file import CaseFile, case_of
from read_models.completion.offsets import usual_offset
from read_models.fraud.queries import OPEN
from read_models.fraud.sentences import Reason, reasons, rule_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_STATUS_TEXT: Final = {
    OPEN: "No person has decided about this yet.",
    "confirmed": "A person has reviewed this and holds it to be right.",
    "cleared": "A person has reviewed this and found another explanation.",
}
_NO_CONSEQUENCE: Final = " Nothing follows from it by itself: it changes no assignment and no pay."


class AlertItem(msgspec.Struct):
    """One alert. ``status`` is the verdict of its latest review, else open. Times in epoch milliseconds.

    ``position`` is that of the event that changed the case last, ``raised_position`` of the one that raised the alert.
    """

    alert_id: str
    kind: str
    rider_id: str
    status: str
    score: int
    signals: list[str]
    raised_at_ms: int
    latest_at_ms: int
    order_id: str | None
    leg: str | None
    position: int
    raised_position: int
    fold_version: int
    generation: int


class AlertsPage(msgspec.Struct):
    """``next``: the cursor of the next page, null on the last one."""

    items: list[AlertItem]
    next: str | None


class SignalAnswer(msgspec.Struct):
    """Why a signal counts, what would have cleared it, its numbers, and the ids of the events that prove it."""

    signal: str
    why: str
    clears: str
    measured: dict[str, int | float | str | None]
    evidence: list[str]


class WindowFix(msgspec.Struct):
    """A ping of the window, as it was recorded."""

    event_id: str
    event_timestamp_ms: int
    received_timestamp_ms: int
    position: int
    latitude: float
    longitude: float
    accuracy_meters: float | None
    speed_mps: float | None
    is_mock: bool | None


class ReviewItem(msgspec.Struct):
    """What a person decided, and why. ``position`` and ``event_id`` are those of the recorded event."""

    verdict: str
    by: str
    why: str
    at_ms: int
    position: int
    event_id: str


class PlaceAnswer(msgspec.Struct):
    """Where riders really stop at the place of a case, now: metres from its address, null without a stop.

    ``offset_known``: most of them stop at one other place, so that the address is wrong rather than the rider.
    """

    place: str
    stops: int
    offset_north_m: float | None
    offset_east_m: float | None
    offset_m: float | None
    far_share: float | None
    offset_known: bool
    words: str


class AlertAnswer(AlertItem):
    """An alert with its evidence.

    ``place``: what other riders did at the place of a leg, read beside the case; null for a case without one.
    ``rule``: what makes an alert of this kind. ``file_sha256`` is the digest of the stored case file; ``replay`` is the
    command that prints the same bytes from the log.
    """

    rule: str
    reasons: list[SignalAnswer]
    place: PlaceAnswer | None
    window: list[WindowFix]
    reviews: list[ReviewItem]
    file_sha256: str
    replay: str


class RiderReason(msgspec.Struct):
    """A reason as the rider can read it."""

    why: str
    clears: str


class RiderReview(msgspec.Struct):
    """A review as the rider can read it."""

    verdict: str
    by: str
    why: str
    at_ms: int


class RiderAlert(msgspec.Struct):
    """An alert as the rider can read it."""

    alert_id: str
    raised_at_ms: int
    status: str
    status_text: str
    order_id: str | None
    reasons: list[RiderReason]
    reviews: list[RiderReview]


class RiderFraudPage(msgspec.Struct):
    """``next``: the cursor of the next page, null on the last one."""

    rider_id: str
    items: list[RiderAlert]
    next: str | None


class ReviewAnswer(msgspec.Struct):
    """``recorded``: false for a repeat, which changed nothing; ``position`` is then null."""

    alert_id: str
    rider_id: str
    verdict: str
    recorded: bool
    position: int | None


def alert_item(row: Mapping[str, Any]) -> AlertItem:
    """An alert from its row of ``read_models.fraud.queries``."""
    return AlertItem(**_fields(row))


def place_answer(place: str, sums: Mapping[str, Any]) -> PlaceAnswer:
    """The place of a case, from its sums over all riders."""
    offset, stops = usual_offset(sums), sums["stops"] or 0
    words = f"{stops:,} stops are known at this place; they say nothing against its address."
    if offset["offset_known"]:
        words = (
            f"Of {stops:,} stops at this place {offset['far_share']:.0%} were far from its address, on average "
            f"{offset['offset_m']:,.0f} m: the address is wrong until a person finds otherwise."
        )
    return PlaceAnswer(place, stops, **offset, words=words)


def alert_answer(
    case: CaseFile, row: Mapping[str, Any], reviews: Sequence[Mapping[str, Any]], place: PlaceAnswer | None
) -> AlertAnswer:
    """An alert with its evidence; ``case`` is that of the row's file."""
    return AlertAnswer(
        **_fields(row),
        rule=rule_of(case),
        reasons=_signals(case),
        place=place,
        window=[WindowFix(**fix._asdict()) for fix in case.window],
        reviews=[_review_item(each) for each in reviews],
        file_sha256=sha256(row["file"]).hexdigest(),
        replay=f"python app.py replay {row['projection']} --case {row['alert_id']}",
    )


def rider_alert(row: Mapping[str, Any], reviews: Sequence[Mapping[str, Any]]) -> RiderAlert:
    """An alert for its rider: reasons and reviews, without scores and internal numbers. Raises UnreadableCaseFile."""
    found: list[Reason] = reasons(case_of(row["file"]))
    return RiderAlert(
        row["alert_id"],
        _ms(row["raised_at"]),
        row["status"],
        _STATUS_TEXT[row["status"]] + _NO_CONSEQUENCE,
        row["order_id"],
        [RiderReason(each.why, each.clears) for each in found],
        [RiderReview(each["verdict"], each["reviewer"], each["why"], _ms(each["at"])) for each in reviews],
    )


def _review_item(row: Mapping[str, Any]) -> ReviewItem:
    place = row["position"], row["event_id"]
    return ReviewItem(row["verdict"], row["reviewer"], row["why"], _ms(row["at"]), *place)


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("alert_id", "rider_id", "status", "score", "order_id", "leg", "position", "raised_position", "fold_version")
    return {name: row[name] for name in (*same, "generation")} | {
        "kind": row["projection"],
        "signals": row["signals"].split(","),
        "raised_at_ms": _ms(row["raised_at"]),
        "latest_at_ms": _ms(row["latest_at"]),
    }


def _signals(case: CaseFile) -> list[SignalAnswer]:
    return [
        SignalAnswer(signal.name, reason.why, reason.clears, dict(signal.measured), list(signal.evidence))
        for signal, reason in zip(case.signals, reasons(case), strict=True)
    ]


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
