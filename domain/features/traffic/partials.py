"""The partial table of traffic: what an event adds to the sums over all riders of a shard, by slot and field.

=========  ====================================  ============================  ======================
slots      bucket                                field                         amounts
=========  ====================================  ============================  ======================
0 … 11     the latest hour: bucket mod 12        ``<cell>/<heading octant>``   Σ ms, Σ mm, riders
12 … 179   permanent (0): hour of the week, UTC  ``<cell>``                    Σ ms, Σ mm
180        permanent (0): all time               ``<cell>/<heading octant>``   Σ ms, Σ mm
=========  ====================================  ============================  ======================

Cells are in hexadecimal, as H3 prints them. A late event counts in the permanent slots however old it is.
"""

from __future__ import annotations

from domain.features.partials import PartialDelta
from domain.features.traffic.changes import changes
from domain.features.traffic.fold import TrafficState
from domain.features.traffic.steps import HOURS_OF_WEEK, hour_of_week

RING_SLOTS = 12
FIRST_HOUR_SLOT = RING_SLOTS
ALL_TIME_SLOT = FIRST_HOUR_SLOT + HOURS_OF_WEEK
TRAFFIC_SLOTS = ALL_TIME_SLOT + 1


def partials(old: TrafficState, new: TrafficState) -> list[PartialDelta]:
    """What the event that led from ``old`` to ``new`` adds; pure."""
    deltas: list[PartialDelta] = []
    for bucket, cell, octant, ms, mm, riders in changes(old, new):
        place = f"{cell:x}"
        heading = f"{place}/{octant}"
        deltas += (
            PartialDelta(bucket % RING_SLOTS, bucket, heading, (ms, mm, riders)),
            PartialDelta(FIRST_HOUR_SLOT + hour_of_week(bucket), 0, place, (ms, mm)),
            PartialDelta(ALL_TIME_SLOT, 0, heading, (ms, mm)),
        )
    return deltas
