"""A phone's clock that is set back while its pings go on arriving, after it was right.

The least lateness of half a minute is that of a fix which was sent at once, however the phone batches the others. Pings
that were written while the phone was offline arrive with one that was written now, so their half minute is right. A
clock that was always wrong makes no change.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.features.spoofing.signals import CLOCK_SHIFT, Finding
from domain.features.tuples import new_tuple

SPAN_MS = 30_000
SPAN_PINGS = 5
"""A span of receptions, half a minute. One that is not right lasts until it has so many pings."""

RIGHT_MS = 30_000
SHIFT_MS = 60_000
"""From at most 30 s late to at least a minute more. A clock that was ahead and is set right never does that."""

SHIFTED_SPANS = 3
RISE_MS, FALL_MS = 10_000, 3_000
"""Three spans with one lateness, which rises a little where the phone lags more and more, as one of MobilityNet's does.
A backlog that is sent little by little gets less late from span to span."""

LONGEST_PAUSE_MS = 600_000
"""After ten minutes without a right span nothing is said of a change: the phone may be another one."""


class ClockSpans(NamedTuple):
    """The current span and what the earlier ones showed. Lateness in ms; receptions in epoch ms.

    ``first_ms``, ``pings`` (up to SPAN_PINGS) and ``least_ms``, the least lateness, are of the current span.
    ``right_ms`` and ``right_until_ms``: the lateness of the last right span, and its end; 0 and 0 if there was none.
    ``shifted`` counts the spans with the lateness ``shifted_ms``, up to SHIFTED_SPANS, from ``shifted_first_ms``
    to ``shifted_until_ms``.
    """

    first_ms: int
    pings: int
    least_ms: int
    right_ms: int
    right_until_ms: int
    shifted: int
    shifted_ms: int
    shifted_first_ms: int
    shifted_until_ms: int


NO_SPANS = ClockSpans(0, 0, 0, 0, 0, 0, 0, 0, 0)


class ClockStep(NamedTuple):
    """``over_ms``: when a shift ended, if the clock is right again."""

    spans: ClockSpans
    finding: Finding | None = None
    over_ms: int | None = None


def step(spans: ClockSpans, sent_ms: int, received_ms: int) -> ClockStep:
    """The spans after a ping, in the order of the log; for most pings they stay, and the fold does not call this."""
    first_ms, pings, least_ms = spans[:3]
    earlier, shifted = spans[3:], spans[5]
    lateness_ms, lasted_ms = received_ms - sent_ms, received_ms - first_ms
    if not pings or lasted_ms >= LONGEST_PAUSE_MS:
        return _stepped((received_ms, 1, lateness_ms, *earlier))
    if lasted_ms >= SPAN_MS and least_ms <= RIGHT_MS and shifted < SHIFTED_SPANS:
        # The usual end of a span: the clock is right, and no shift was found before.
        return _stepped((received_ms, 1, lateness_ms, least_ms, received_ms, 0, 0, 0, 0))
    if lasted_ms < SPAN_MS or (pings < SPAN_PINGS and least_ms > RIGHT_MS):
        counted = pings + 1 if pings < SPAN_PINGS else pings
        return _stepped((first_ms, counted, lateness_ms if lateness_ms < least_ms else least_ms, *earlier))
    ended, finding, over_ms = _ended(spans, received_ms)
    return ClockStep(ClockSpans(received_ms, 1, lateness_ms, *ended[3:]), finding, over_ms)


def _stepped(spans: tuple[int, ...]) -> ClockStep:
    """The usual step, which finds nothing."""
    return new_tuple(ClockStep, (new_tuple(ClockSpans, spans), None, None))


def is_suspect(spans: ClockSpans, lateness_ms: int) -> bool:
    """Whether a ping may become the evidence of a shift, so that the window has to keep it."""
    is_shift = lateness_ms - spans.right_ms >= SHIFT_MS and spans.right_until_ms > 0
    return is_shift and spans.pings < SPAN_PINGS and spans.shifted < SHIFTED_SPANS


def _ended(spans: ClockSpans, until_ms: int) -> ClockStep:
    least_ms, shifted = spans.least_ms, spans.shifted
    if least_ms <= RIGHT_MS:
        over_ms = spans.shifted_until_ms if shifted >= SHIFTED_SPANS else None
        right = ClockSpans(spans.first_ms, 0, 0, least_ms, until_ms, 0, 0, 0, 0)
        return ClockStep(right, None, over_ms)
    if not spans.right_until_ms or least_ms - spans.right_ms < SHIFT_MS:
        return ClockStep(spans)
    if shifted >= SHIFTED_SPANS and least_ms <= spans.shifted_ms - SHIFT_MS:
        # The phone lags as it did before, or more: still, the shift is over.
        over = ClockSpans(*spans[:5], 0, 0, 0, 0)
        return ClockStep(over, None, spans.shifted_until_ms)
    if shifted and -FALL_MS <= least_ms - spans.shifted_ms <= RISE_MS:
        grown = spans._replace(shifted=min(shifted + 1, SHIFTED_SPANS), shifted_ms=least_ms, shifted_until_ms=until_ms)
        is_new = shifted + 1 == SHIFTED_SPANS
        return ClockStep(grown, _shift(grown) if is_new else None)
    if spans.first_ms - spans.right_until_ms >= LONGEST_PAUSE_MS:
        return ClockStep(spans)
    began = spans._replace(shifted=1, shifted_ms=least_ms, shifted_first_ms=spans.first_ms, shifted_until_ms=until_ms)
    return ClockStep(began)


def _shift(spans: ClockSpans) -> Finding:
    measured = (
        ("shift_seconds", (spans.shifted_ms - spans.right_ms) / 1_000),
        ("lateness_before_seconds", spans.right_ms / 1_000),
        ("lateness_seconds", spans.shifted_ms / 1_000),
        ("seconds", (spans.shifted_until_ms - spans.shifted_first_ms) / 1_000),
    )
    return Finding(CLOCK_SHIFT, spans.shifted_first_ms, spans.shifted_until_ms, measured)
