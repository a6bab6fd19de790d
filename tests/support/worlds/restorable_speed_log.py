"""A log of speed pings in memory that can be restored to an older state, and the sink that is folded from it."""

from __future__ import annotations

from collections.abc import Sequence

from projections.core.ports import LoggedEvent
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.speed_events import expected_states, ping_data

T_MS = 1_790_000_000_000


class RestorableSpeedLog:
    """Base of the worlds whose workers meet a restored log. A history is a list of (rider, second)."""

    def __init__(self, history: Sequence[tuple[str, int]]) -> None:
        self.log, self.sink = MemoryLog(), MemorySink()
        self.record(history)

    def record(self, history: Sequence[tuple[str, int]], late_ms: int = 0) -> list[LoggedEvent]:
        """Append one ping each."""
        first = len(self.log.events)
        return [
            self.log.append(rider, "GpsPing", ping_data(rider, T_MS + second * 1000 + late_ms, first + number))
            for number, (rider, second) in enumerate(history)
        ]

    def restore(self, position: int, then: Sequence[tuple[str, int]] = ()) -> list[LoggedEvent]:
        """Restore the log to an older state while workers run, and record other events. Returns these."""
        older = self.log.restored_to(position)
        self.log.events, self.log._seqs, self.log._versions = older.events, older._seqs, older._versions
        return self.record(then, late_ms=7)

    def is_right(self) -> bool:
        """Whether the sink holds exactly the fold of the log as it is now."""
        return self.sink.all_states() == expected_states(self.log.events)
