"""A log with events whose schema the registry may not know yet, a worker that parks their keys, and their retry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from domain.events.contracts import UndecodableError
from projections.core.fold import Decode
from projections.core.parked_keys import ParkedKeys
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.speed_events import ping_data


class Registry:
    """Decodes JSON; events whose serial number is in ``unknown`` have a schema that it does not know yet."""

    def __init__(self, unknown: set[int]) -> None:
        self.unknown = unknown

    def decode(self, payload: bytes) -> Mapping[str, Any]:
        data = json.loads(payload)
        assert isinstance(data, dict)
        if data["serial"] in self.unknown:
            raise UndecodableError("the registry knows no schema 9")
        return data


def a_log(history: Sequence[tuple[str, int]]) -> MemoryLog:
    log = MemoryLog()
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, second * 1000, number, serial=number))
    return log


def a_runner(
    log: MemoryLog, sink: MemorySink, decode: Decode, topic: ScriptedTopic | None = None
) -> StreamFollower[Any]:
    return StreamFollower(
        SPEED, log_port=log, consumer=topic or ScriptedTopic(), sink=sink, decode=decode, partitions=8
    )


def parking(log: MemoryLog, sink: MemorySink, decode: Decode) -> ParkedKeys:
    return ParkedKeys(SPEED, sink, log, decode, lambda: 0)
