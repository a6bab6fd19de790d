"""A phone's clock that is set back while its pings arrive one by one, after it was right.

Pings that were written while the phone was offline arrive at once with times that lie apart: their lateness changes
from one to the next, so they make no plateau. A clock that was always wrong makes no change.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.features.spoofing.signals import CLOCK_SHIFT, Finding

PLATEAU_PINGS = 10
PLATEAU_MS = 60_000
"""A plateau: ten pings with one lateness, received over a minute."""

TOLERANCE_MS = 3_000
"""How much the lateness differs on a plateau. Of MobilityNet's live pings 99 of 100 differ by less."""

MAX_MISSES = 2
"""So many pings on end with another lateness end no plateau: one that was late by itself, or a small flush."""

RIGHT_MS = 30_000
SHIFT_MS = 60_000
"""From at most 30 s to at least a minute more. A clock that was ahead and is set right never does that."""

LONGEST_PAUSE_MS = 600_000
"""After ten minutes without a ping nothing is said of a change: the phone may have been set by hand, or be another."""


class Plateau(NamedTuple):
    """Pings with one lateness in ms, that of the first of them. ``first_ms`` is its reception, in epoch ms.

    ``pings`` counts them up to PLATEAU_PINGS. ``misses`` counts pings with another lateness since the last of them.
    ``right_ms`` and ``right_until_ms``: the lateness of the last plateau with a right clock, and when it ended; 0 and 0
    if there was none. ``is_shifted``: this plateau was found to be a shift.
    """

    lateness_ms: int
    first_ms: int
    pings: int
    misses: int
    right_ms: int
    right_until_ms: int
    is_shifted: bool


NO_PLATEAU = Plateau(0, 0, 0, 0, 0, 0, False)


class ClockStep(NamedTuple):
    """``ended_ms``: when the shifted plateau ended, if the clock is right again."""

    plateau: Plateau
    finding: Finding | None = None
    ended_ms: int | None = None


def is_settled(plateau: Plateau, lateness_ms: int, received_ms: int) -> bool:
    """Whether a ping with this lateness changes nothing: the usual case, which costs no more than this."""
    pings = plateau[2]
    return (
        pings == PLATEAU_PINGS
        and -TOLERANCE_MS <= lateness_ms - plateau[0] <= TOLERANCE_MS
        and not plateau[3]
        and (plateau[6] or plateau[0] <= RIGHT_MS)
        and received_ms - plateau[1] >= PLATEAU_MS
    )


def step(plateau: Plateau, sent_ms: int, received_ms: int, before_ms: int) -> ClockStep:
    """The plateau after a ping, in the order of the log. ``before_ms``: the reception of the ping before it."""
    lateness_ms, first_ms, pings, misses, right_ms, right_until_ms, is_shifted = plateau
    lateness = received_ms - sent_ms
    is_long = pings >= PLATEAU_PINGS and before_ms - first_ms >= PLATEAU_MS
    has_paused = received_ms - before_ms >= LONGEST_PAUSE_MS
    if pings and -TOLERANCE_MS <= lateness - lateness_ms <= TOLERANCE_MS and not has_paused:
        grown = Plateau(lateness_ms, first_ms, min(pings + 1, PLATEAU_PINGS), 0, right_ms, right_until_ms, is_shifted)
        if is_shifted or not _is_shift(grown, received_ms):
            return ClockStep(grown)
        return ClockStep(grown._replace(is_shifted=True), _shift(grown, received_ms))
    if misses < MAX_MISSES and is_long and not has_paused:
        return ClockStep(plateau._replace(misses=misses + 1))
    if is_long and lateness_ms <= RIGHT_MS:
        right_ms, right_until_ms = lateness_ms, before_ms
    ended_ms = before_ms if is_shifted and lateness <= RIGHT_MS else None
    return ClockStep(Plateau(lateness, received_ms, 1, 0, right_ms, right_until_ms, False), None, ended_ms)


def is_suspect(plateau: Plateau) -> bool:
    """Whether its pings may become the evidence of a shift, so that the window has to keep them."""
    is_shift = plateau.lateness_ms - plateau.right_ms >= SHIFT_MS
    return is_shift and plateau.right_until_ms > 0 and plateau.pings < PLATEAU_PINGS


def _is_shift(plateau: Plateau, received_ms: int) -> bool:
    return (
        plateau.pings >= PLATEAU_PINGS
        and plateau.lateness_ms > RIGHT_MS
        and plateau.right_until_ms > 0
        and received_ms - plateau.first_ms >= PLATEAU_MS
        and plateau.lateness_ms - plateau.right_ms >= SHIFT_MS
        and plateau.first_ms - plateau.right_until_ms < LONGEST_PAUSE_MS
    )


def _shift(plateau: Plateau, received_ms: int) -> Finding:
    measured = (
        ("shift_seconds", (plateau.lateness_ms - plateau.right_ms) / 1_000),
        ("lateness_before_seconds", plateau.right_ms / 1_000),
        ("lateness_seconds", plateau.lateness_ms / 1_000),
        ("seconds", (received_ms - plateau.first_ms) / 1_000),
    )
    return Finding(CLOCK_SHIFT, plateau.first_ms, received_ms, measured)
