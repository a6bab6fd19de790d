"""From facts about the stages to lines a person can act on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from infrastructure.event_store.restores import Found
from infrastructure.observability.stages import StageReport


class Line(msgspec.Struct):
    """One stage. ``lag_events`` and ``lag_seconds``: how many events it has not passed, and since when the oldest of
    them waits; of ``device`` and ``ingest`` how long the latest pings took. None = cannot be known, or makes no sense
    here. ``parked``: keys held back, of a projection."""

    stage: str
    state: str
    position: int | None
    lag_events: int | None = None
    lag_seconds: float | None = None
    advice: str = ""
    parked: int | None = None

    @property
    def good(self) -> bool:
        return not self.advice


class Status(msgspec.Struct):
    """All stages, in the order in which a ping passes them."""

    good: bool
    log_id: str
    stages: list[Line]


class Head(msgspec.Struct):
    """The head of the log: ``position``, and when its last event was recorded (epoch milliseconds).

    ``clock_ahead_ms``: how far that is ahead of the database's clock, milliseconds.
    """

    log_id: str
    position: int
    recorded_at_ms: int
    clock_ahead_ms: int = 0


class Own(msgspec.Struct):
    """What the caller has found out itself of a stage, which is better than what the stage reported.

    ``due``: the fold of this code is not the one that the served generation was written by. ``not_ours``: shards that
    hold what this log has not.
    """

    lag_events: int | None = None
    delay_s: float | None = None
    parked: int = 0
    due: bool = False
    not_ours: int = 0


CLOCK_AHEAD_ALERT_MS = 10_000
"""How far the log's clock may be ahead of the database's before ``status`` says so, in milliseconds."""


def log_line(head: Head, restores: Sequence[Found] = ()) -> Line:
    """``restores``: what was found that is not of this log, and nobody has looked into."""
    if not restores and head.clock_ahead_ms > CLOCK_AHEAD_ALERT_MS:
        state = f"log clock ahead by {head.clock_ahead_ms / 1000:,.0f} s"
        advice = "a writer's clock was ahead: set the clocks (NTP). Until then `known` is not as of now"
        return Line("log", state, head.position, 0, advice=advice)
    if not restores:
        return Line("log", "ok" if head.position else "empty", head.position, 0)
    beyond, ended = max(one.beyond for one in restores), min(one.head for one in restores)
    who = ", ".join(one.found_by for one in restores)
    state = f"restored, or another one: it ended at {ended:,} where {beyond:,} was known (found by {who})"
    return Line("log", state, head.position, 0, advice="docs/backup.md says what is lost; then `restored --accept`")


def stage_line(
    name: str,
    report: StageReport | None,
    head: Head,
    late_after_s: float,
    own: Own | None = None,
    *,
    served: bool = True,
) -> Line:
    """A stage by its own report and by what the caller found. ``served``: whether a `serve` is running at all."""
    own = own or Own()
    if own.not_ours:
        state = f"{own.not_ours} shards hold what this log has not: it was restored, or is another one"
        advice = f"`serve` folds them anew within seconds; if it stays, see its log, then rebuild-projection {name}"
        return Line(name, state, 0 if report is None else report.progress.position, own.lag_events, advice=advice)
    if report is None or not served:
        lag = own.lag_events if own.lag_events is not None else (head.position if report is None else None)
        state = "never ran" if report is None else "not running"
        position = 0 if report is None else report.progress.position
        delay_s = own.delay_s if lag else 0.0
        return Line(name, state, position, lag, delay_s, "start `python app.py serve`", own.parked or None)
    progress = report.progress
    behind, seconds = own.lag_events, own.delay_s
    if behind is None and report.connected:
        behind, seconds = progress.lag_events, progress.delay_s
    if seconds is None and report.connected:
        # Only who has watched the log knows it: the times of recording are ahead of the clock.
        seconds = progress.delay_s
    if behind == 0:
        seconds = 0.0
    state, advice = "running", ""
    if own.due:
        state, advice = "rebuild is due: it was folded by other code", f"run rebuild-projection {name}"
    elif progress.state.startswith(("stuck", "hangs")):
        state, advice = progress.state, "it is started anew after one or two minutes; its log says what it waited for"
    elif not report.alive:
        state, advice = "its process has ended", "`serve` starts it again in a moment; if it stays, see its log"
    elif not report.connected and progress.state == "running":
        state, advice = f"silent for {report.age_s:.0f} s", "is `serve` running? see its log, and restart it"
    elif progress.state.startswith("waiting for Kafka"):
        state, advice = progress.state, "a start takes some seconds; if it stays, see the broker"
    elif not report.connected:
        state, advice = progress.state, "it tries again by itself; check the server that it names"
    elif (seconds or 0.0) > late_after_s:
        state, advice = "late", "it catches up by itself; if the seconds grow, give it CPU"
    if own.parked:
        held = f"{own.parked:,} parked keys: `parked list`"
        advice = f"{advice}; {held}" if advice else held
    return Line(name, state, progress.position, behind, seconds, advice, own.parked)


def whole(log_id: str, stages: Sequence[Line]) -> Status:
    return Status(all(line.good for line in stages), log_id, list(stages))
