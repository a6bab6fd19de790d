"""A track that repeats the rider's own earlier track, to the metre and to the second.

The same street on another day is no repetition: an honest fix falls on the same metre as one of another day about once
in a thousand, and at another offset of time. Three fixes that do both are a recording.

The memory is bounded: of the moving fixes a sample is kept that their positions choose, so that a recording is sampled
where the original was. It fades after 384 samples, two hours of riding or more.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from domain.features.case_file import uuid_text
from domain.features.spoofing.fixes import Fix, distance_mm, id_bytes
from domain.features.spoofing.signals import REPEATED_TRACK, Finding
from domain.features.tuples import new_tuple

CELL_E7 = 100
"""Cells of 1.1 m. A recording with noise of more than a metre is not recognised."""

MAX_SAMPLES = 384
_SAMPLE = Struct(">II")
SAMPLE_BYTES = _SAMPLE.size
_MAX_BYTES = MAX_SAMPLES * SAMPLE_BYTES

MOVING_MM_PER_MS = 1
"""Below 1 m/s a rider waits, and a waiting phone repeats its cells all day."""

LONGEST_STEP_MS = 300_000

MIN_AGE_S = 14_400
"""Four hours: an earlier shift. A loop of the same day is not compared."""

SAME_OFFSET_S = 2
HITS = 3
MIN_HIT_MM = 100_000
"""Three hits, each 100 m or more from the one before it, with one offset of time to two seconds."""

OVER_MS = 60_000
"""A sampled fix without a hit, so long after the last hit, shows that the repetition is over."""

LONGEST_RUN_MS = 3_600_000
MAX_HITS = 8


class Hit(NamedTuple):
    """A fix on a cell and at the offset of an earlier one. ``offset_s`` is the time between the two."""

    t_ms: int
    latitude_e7: int
    longitude_e7: int
    offset_s: int
    event_id: bytes


Hits = tuple[Hit, ...]
"""At most MAX_HITS: the first ones and the last."""


class Sampled(NamedTuple):
    """The memory and hits after a sampled fix. ``over_ms``: when a repetition ended that has no more hits."""

    memory: bytes
    hits: Hits
    finding: Finding | None = None
    over_ms: int | None = None


def sampled_hash(latitude_e7: int, longitude_e7: int, ms: int) -> int | None:
    """The 32 bits of a fix's cell, if the cell is sampled for fixes ``ms`` apart: about one fix in half a minute.

    The constants are odd 32-bit numbers with no pattern (golden ratio, and a prime). The masks are nested.
    """
    h = (latitude_e7 // CELL_E7 * 0x9E3779B1 ^ longitude_e7 // CELL_E7 * 0x85EBCA6B) & 0xFFFFFFFF
    h = (h ^ h >> 15) * 0xC2B2AE35 & 0xFFFFFFFF
    mask = 31 if ms < 3_000 else 3 if ms < 12_000 else 1 if ms < 45_000 else 0
    # The high bits: the low ones of a product depend on few bits of its factors.
    return None if (h >> 20) & mask else h


def with_sample(memory: bytes, hits: Hits, fix: Fix, h: int, event_id: str) -> Sampled:
    """The memory and the hits after a sampled fix."""
    t_s = fix.t_ms // 1_000 & 0xFFFFFFFF
    offset_s = _offset(memory, h, t_s)
    sample = _SAMPLE.pack(h, t_s)
    memory = memory[SAMPLE_BYTES:] + sample if len(memory) >= _MAX_BYTES else memory + sample
    if offset_s is None:
        if not hits:
            return new_tuple(Sampled, (memory, hits, None, None))
        is_over = len(hits) >= HITS and fix.t_ms - hits[-1].t_ms >= OVER_MS
        return Sampled(memory, () if is_over else hits, None, hits[-1].t_ms if is_over else None)
    hit = Hit(fix.t_ms, fix.latitude_e7, fix.longitude_e7, offset_s, id_bytes(event_id))
    if not hits or abs(hits[-1].offset_s - offset_s) > SAME_OFFSET_S or fix.t_ms - hits[0].t_ms > LONGEST_RUN_MS:
        return Sampled(memory, (hit,))
    last = hits[-1]
    if distance_mm(last.latitude_e7, last.longitude_e7, fix.latitude_e7, fix.longitude_e7) < MIN_HIT_MM:
        return Sampled(memory, hits)
    hits = (*hits[: MAX_HITS - 1], hit)
    return Sampled(memory, hits, _repeated(hits) if len(hits) >= HITS else None)


def _offset(memory: bytes, h: int, t_s: int) -> int | None:
    """The time since the latest sample of this cell that is old enough."""
    wanted, at = h.to_bytes(4, "big"), len(memory)
    if not at or t_s - _SAMPLE.unpack_from(memory)[1] < MIN_AGE_S:
        return None  # the oldest sample is not old enough
    while (at := memory.rfind(wanted, 0, at)) >= 0:
        if at % SAMPLE_BYTES == 0:
            age_s: int = t_s - _SAMPLE.unpack_from(memory, at)[1]
            if age_s >= MIN_AGE_S:
                return age_s
        at += 3  # so that the next match ends before this one
    return None


def _repeated(hits: Hits) -> Finding:
    measured = (
        ("repeated_fixes", len(hits)),
        ("offset_seconds", hits[-1].offset_s),
        ("offset_differs_seconds", max(hit.offset_s for hit in hits) - min(hit.offset_s for hit in hits)),
        ("seconds", (hits[-1].t_ms - hits[0].t_ms) / 1_000),
    )
    return Finding(
        REPEATED_TRACK, hits[0].t_ms, hits[-1].t_ms, measured, tuple([uuid_text(hit.event_id) for hit in hits])
    )
