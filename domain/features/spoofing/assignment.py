"""What happens at an assignment: an anomaly that begins and ends with a leg, or a jump to the target of one.

The times and targets of legs come from dispatch, not from the phone. No failure of a receiver knows them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.spoofing.fixes import Fix, distance_mm
from domain.features.spoofing.signals import JUMP_TO_TARGET, OFFSET_AT_ASSIGNMENT, Finding

MAX_LEGS = 24
MAX_ANOMALIES = 8
"""The latest of each are kept (invariant 15): an aggregate has at most 20 legs open."""

MATCH_MS = 120_000
MATCH_PART = 4
"""An anomaly begins and ends with a leg if both differ by at most two minutes, and by at most a quarter of the leg."""

MIN_LEG_MS = 240_000
"""Of a shorter leg, both ends lie near any anomaly."""

TARGET_MM = 150_000
"""How near a jump lands: where an approach begins, p90 of real drop-offs (103 m) and a fix's error."""

MIN_JUMP_TO_TARGET_MM = 500_000
"""A jump from nearer may be the correction of an honest fix at the door."""


class TimedLeg(NamedTuple):
    """A leg, with its target in 10⁻⁷ degrees; ``ended_ms`` is 0 while it is open. Effective times in epoch ms."""

    order_id: str
    leg: str
    latitude_e7: int
    longitude_e7: int
    started_ms: int
    ended_ms: int


class Anomaly(NamedTuple):
    """A time in which a family of signals was seen. ``is_over``: what followed showed that it had ended."""

    family: str
    start_ms: int
    end_ms: int
    is_over: bool
    evidence: tuple[str, ...]


def legs_of(data: bytes) -> list[TimedLeg]:
    return [TimedLeg(*leg) for leg in json.loads(data)] if data else []


def anomalies_of(data: bytes) -> list[Anomaly]:
    return [Anomaly._make((*one[:4], tuple(one[4]))) for one in json.loads(data)] if data else []


def packed(rows: list[TimedLeg] | list[Anomaly]) -> bytes:
    """Canonical JSON. Legs and anomalies are packed in the state, since most pings change neither."""
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode() if rows else b""


def with_leg_started(legs: list[TimedLeg], data: Mapping[str, Any]) -> list[TimedLeg]:
    started = TimedLeg(
        data["order_id"],
        data["leg"],
        round(data["target_latitude"] * 1e7),
        round(data["target_longitude"] * 1e7),
        effective_time_ms(data),
        0,
    )
    return [*(one for one in legs if one[:2] != started[:2] or one.ended_ms), started][-MAX_LEGS:]


def with_leg_ended(legs: list[TimedLeg], data: Mapping[str, Any]) -> list[TimedLeg]:
    """The legs after one ended. It goes to the end, so that the legs that leave are those that ended long ago."""
    ended = [leg for leg in legs if leg[:2] == (data["order_id"], data["leg"]) and not leg.ended_ms]
    others = [leg for leg in legs if leg not in ended]
    return [*others, *(leg._replace(ended_ms=effective_time_ms(data)) for leg in ended)]


def open_leg(legs: list[TimedLeg]) -> TimedLeg | None:
    """The open leg that was started last."""
    return max((leg for leg in legs if not leg.ended_ms), key=lambda leg: leg.started_ms, default=None)


def to_target(legs: list[TimedLeg], anchor: Fix, fix: Fix) -> Finding | None:
    """The finding that a jump from ``anchor`` to ``fix`` ended at the target of a leg that was open."""
    for leg in legs:
        is_open = leg.started_ms - MATCH_MS <= fix.t_ms and (not leg.ended_ms or fix.t_ms <= leg.ended_ms)
        to_mm = distance_mm(fix.latitude_e7, fix.longitude_e7, leg.latitude_e7, leg.longitude_e7)
        from_mm = distance_mm(anchor.latitude_e7, anchor.longitude_e7, leg.latitude_e7, leg.longitude_e7)
        if is_open and to_mm <= TARGET_MM and from_mm >= MIN_JUMP_TO_TARGET_MM:
            measured = (
                ("order_id", leg.order_id),
                ("leg", leg.leg),
                ("from_target_before_m", from_mm // 1_000),
                ("from_target_after_m", to_mm // 1_000),
            )
            return Finding(JUMP_TO_TARGET, fix.t_ms, fix.t_ms, measured)
    return None


def with_anomaly(anomalies: list[Anomaly], new: Anomaly) -> list[Anomaly]:
    """The anomalies with a new one, or with the one that it continues."""
    before = next((one for one in anomalies if one.family == new.family and not one.is_over), None)
    if before is None:
        return [*anomalies, new][-MAX_ANOMALIES:]
    grown = before._replace(end_ms=max(before.end_ms, new.end_ms), is_over=new.is_over)
    return [grown if one is before else one for one in anomalies]


def with_end(anomalies: list[Anomaly], family: str, end_ms: int | None) -> list[Anomaly]:
    """The anomalies after the open one of ``family`` was seen to be over, at ``end_ms`` or where it was seen last."""
    return [
        one._replace(is_over=True, end_ms=one.end_ms if end_ms is None else end_ms)
        if one.family == family and not one.is_over
        else one
        for one in anomalies
    ]


def at_assignment(legs: list[TimedLeg], anomalies: list[Anomaly]) -> tuple[list[Anomaly], list[Finding]]:
    """The findings that an anomaly began and ended with a leg, and the anomalies that are left."""
    left: list[Anomaly] = []
    findings: list[Finding] = []
    for one in anomalies:
        leg = next((leg for leg in legs if one.is_over and _is_of(one, leg)), None)
        if leg is None:
            left.append(one)
            continue
        measured = (
            ("order_id", leg.order_id),
            ("leg", leg.leg),
            ("family", one.family),
            ("after_start_seconds", (one.start_ms - leg.started_ms) / 1_000),
            ("after_end_seconds", (one.end_ms - leg.ended_ms) / 1_000),
            ("leg_seconds", (leg.ended_ms - leg.started_ms) / 1_000),
        )
        findings.append(Finding(OFFSET_AT_ASSIGNMENT, one.start_ms, one.end_ms, measured, one.evidence))
    return left, findings


def _is_of(anomaly: Anomaly, leg: TimedLeg) -> bool:
    lasted_ms = leg.ended_ms - leg.started_ms
    if not leg.ended_ms or lasted_ms < MIN_LEG_MS:
        return False
    match_ms = min(MATCH_MS, lasted_ms // MATCH_PART)
    return abs(anomaly.start_ms - leg.started_ms) <= match_ms and abs(anomaly.end_ms - leg.ended_ms) <= match_ms
