"""From facts about the stages to lines a person can act on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from infrastructure.observability.stages import StageReport

RETAINED_ALERT_BYTES = 1 << 30
"""WAL kept for the slot past which disk space is at stake: the tailer does not keep up, or does not run."""


class Line(msgspec.Struct):
    """One stage. ``lag_events`` and ``lag_seconds``: behind the head of the log; None = cannot be known now."""

    stage: str
    state: str
    position: int
    lag_events: int | None = None
    lag_seconds: float | None = None
    advice: str = ""

    @property
    def good(self) -> bool:
        return not self.advice


class Status(msgspec.Struct):
    """All stages, in the order in which a ping passes them."""

    good: bool
    log_id: str
    stages: list[Line]


class Head(msgspec.Struct):
    """The head of the log: ``position``, and when its last event was recorded (epoch milliseconds)."""

    log_id: str
    position: int
    recorded_at_ms: int


def log_line(head: Head, now_ms: int) -> Line:
    state = "ok" if head.position else "empty"
    return Line("log", state, head.position, 0, _age(now_ms, head.recorded_at_ms) if head.position else None)


def stage_line(name: str, report: StageReport | None, head: Head, now_ms: int, *, lag: int | None = None) -> Line:
    """A stage by its own report; ``lag`` is what the caller counted itself, and better than the report's."""
    if report is None:
        return Line(
            name, "never ran", 0, lag if lag is not None else head.position, None, "start `python app.py serve`"
        )
    progress = report.progress
    behind = progress.lag_events if lag is None else lag
    seconds = 0.0 if not behind else _age(now_ms, progress.newest_ms)
    if not report.connected and progress.state == "running":
        state, advice = f"silent for {report.age_s:.0f} s", "is `serve` running? see its log, and restart it"
    elif not report.connected:
        state, advice = progress.state, "it tries again by itself; check the server that it names"
    elif behind and seconds is not None and seconds > 60:
        state, advice = "behind", "it catches up from the event store; if the number grows, add CPU or partitions"
    else:
        state, advice = "running", ""
    return Line(name, state, progress.position, behind, seconds, advice)


def slot_line(retained_bytes: int | None, wal_status: str | None, position: int) -> Line:
    """The replication slot: what it keeps on the database's disk."""
    if retained_bytes is None:
        return Line("slot", "missing", 0, advice="the tailer makes it when it starts: run `python app.py serve`")
    state = f"{wal_status}, {retained_bytes / 1e6:,.1f} MB of WAL kept"
    if wal_status == "lost":
        advice = "drop the slot and restart the tailer; projections fill the gap from the event store"
    elif retained_bytes > RETAINED_ALERT_BYTES:
        advice = "the tailer does not keep up or does not run: the database's disk fills"
    else:
        advice = ""
    return Line("slot", state, position, advice=advice)


def whole(log_id: str, stages: Sequence[Line]) -> Status:
    return Status(all(line.good for line in stages), log_id, list(stages))


def _age(now_ms: int, then_ms: int) -> float | None:
    return None if not then_ms else max(0.0, (now_ms - then_ms) / 1000)
