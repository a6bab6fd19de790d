"""The state of a rider's spoofing, and what a detector notes at one event."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.case_file import CaseFile
from domain.features.spoofing.clock import NO_SPANS, ClockSpans
from domain.features.spoofing.fixes import NO_FIX, Fix
from domain.features.spoofing.jumps import Branch
from domain.features.spoofing.motion import NO_HABIT, Habit
from domain.features.spoofing.repetition import Hits
from domain.features.spoofing.signals import Finding


class Review(NamedTuple):
    """What a person decided about an alert; ``at_ms`` in epoch ms."""

    event_id: str
    alert_id: str
    rider_id: str
    verdict: str
    by: str
    why: str
    at_ms: int
    position: int


class SpoofingState(NamedTuple):
    """The state of one rider. ``late`` counts the pings that came late.

    ``last`` is the last used fix, at a position that may be as old as ``since_ms``. ``trunk`` counts the fixes of the
    track, up to those that a jump needs. ``kept_ms`` is the effective time of the last fix of the window, and
    ``unchecked`` counts its fixes that the detectors of stretches have not seen. ``mocks`` counts mock fixes on end.
    ``branch`` and ``hits`` are there only while something is unusual.

    ``window`` and ``memory`` are packed (``fixes``, ``repetition``), and so are ``legs``, ``anomalies`` and ``case``:
    most pings change none of the latter. ``case`` has the signals up to ``case_ms``, raised to an alert or not.
    ``alert`` and ``review`` are what the last event changed; they are not stored.
    """

    version: int
    position: int
    late: int = 0
    last: Fix = NO_FIX
    since_ms: int = 0
    trunk: int = 0
    kept_ms: int = 0
    unchecked: int = 0
    mocks: int = 0
    habit: Habit = NO_HABIT
    spans: ClockSpans = NO_SPANS
    branch: Branch | None = None
    hits: Hits = ()
    window: bytes = b""
    memory: bytes = b""
    legs: bytes = b""
    anomalies: bytes = b""
    case: bytes = b""
    case_ms: int = 0
    alert: CaseFile | None = None
    review: Review | None = None


EMPTY = SpoofingState(0, 0)


class Note(NamedTuple):
    """What a detector notes: a finding, and of which family an anomaly goes on or ended at ``over_ms``.

    Regularity and the mock flag are no anomalies: their ends are not seen sharply enough to compare them with a leg's.
    """

    finding: Finding | None
    family: str | None = None
    over_ms: int | None = None
