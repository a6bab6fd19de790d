"""A city in memory: histories of both streams, their logs, and the snapshot of a vector, folded from the logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from domain.features.partials import PartialTable
from domain.identifiers import SHARDS
from projections.core.projection import Projection
from projections.replay.as_of import AsOf
from projections.replay.city import PERMANENT_SLOTS
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from read_models.city.content import (
    CALIBRATION_PERMANENT,
    CityContent,
    CityParts,
    CityTables,
    TableVector,
    hours_of,
    merge,
    tables_of,
)
from tests.support.ports_in_memory.archive import MemoryArchive
from tests.support.worlds.answered_orders import answered_histories
from tests.support.worlds.order_lives import OrderHistory
from tests.support.worlds.rider_events import START_MS

METRES_A_DEGREE = 111_195.0


class CityArchive(MemoryArchive):
    """The log of one stream in memory."""

    def __init__(self, stream: str, history: Sequence[tuple[str, str, Mapping[str, Any]]] = ()) -> None:
        super().__init__(lambda: START_MS)
        self._stream = stream
        for key, event_type, data in history:
            self.append(key, event_type, data)


def ping(
    rider: str, second: int, north_m: float, east_m: float = 0.0, number: int = 0
) -> tuple[str, str, dict[str, Any]]:
    """A ping near the restaurants of ``order_lives``, this far from the first of them."""
    return (
        rider,
        "GpsPing",
        {
            "rider_id": rider,
            "latitude": 52.52 + north_m / METRES_A_DEGREE,
            "longitude": 13.4 + east_m / METRES_A_DEGREE / math.cos(math.radians(52.52)),
            "event_timestamp_ms": START_MS + second * 1_000,
            "accuracy_meters": 5.0,
            "speed_mps": None,
            "event_id": str(UUID(int=number)),
            "received_timestamp_ms": 0,
        },
    )


def drive(rider: str, first_s: int, steps: int, metres: int, north: bool) -> OrderHistory:
    """A ping every 20 s, ``metres`` further each."""
    return [
        ping(rider, first_s + 20 * n, metres * n if north else 0, 0 if north else metres * n, n) for n in range(steps)
    ]


BUSY_HOURS = [
    event
    for hour, metres in enumerate((100, 100, 200, 100))
    for n in range(14)
    for event in drive(f"{hour}-{n}", 3_600 * hour, 16, metres, north=True)
]
"""Four hours in which the same places are crossed by enough riders for a fastest hour, which is the third."""

drives = st.builds(
    drive,
    st.sampled_from([f"rider-{number}" for number in range(5)]),
    st.sampled_from([0, 40, 290, 1_500, 3_500, 3_700, 9_000]),
    st.integers(1, 12),
    st.sampled_from([30, 150, 400]),
    st.booleans(),
)
rides = st.lists(drives, max_size=6).map(lambda found: [event for one in found for event in one])
"""Rides of a few riders, some of them late by more than the fold keeps."""


def vector_of(log: CityArchive, projection: Projection[Any], seqs: Sequence[int]) -> CityTables:
    """The tables of ``projection`` at this vector, folded from the beginning of the log."""
    horizon = log.horizon(AsOf.at_position(len(log.events)))
    source = ReplaySource(projection, log, json.loads)
    tables: list[PartialTable] = [
        replay_shard(source, shard, horizon, upto_seq=seqs[shard]).partials for shard in range(SHARDS)
    ]
    return tables_of(TableVector(1, tuple(seqs)), tables, PERMANENT_SLOTS[projection.name])


NO_SCORES = tables_of(TableVector(1, (0,) * SHARDS), [], CALIBRATION_PERMANENT)


def replayed(
    as_of_ms: int, traffic: CityTables, orders: CityTables, calibration: CityTables = NO_SCORES
) -> CityContent:
    """The snapshot of whole tables; by default no answer has an outcome."""
    parts = CityParts(traffic, orders, calibration)
    return merge("log", as_of_ms, parts, hours_of(parts))


histories = st.tuples(rides, answered_histories())
