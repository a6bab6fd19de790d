"""From facts about the stages to lines a person can act on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from infrastructure.cdc.replication_slot import SlotState
from infrastructure.observability.lag import IngestDelays
from infrastructure.observability.stage_reports import STANDBY, StageReport
from infrastructure.postgres.restore_findings import RestoreFinding
from projections.parity.served_reads import ReadTally


class StatusLine(msgspec.Struct):
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


class StatusReport(msgspec.Struct):
    """All stages, in the order in which a ping passes them."""

    good: bool
    log_id: str
    stages: list[StatusLine]


class IngestHead(msgspec.Struct):
    """The head of the log: ``position``, and when its last event was recorded (epoch milliseconds).

    ``clock_ahead_ms``: how far that is ahead of the database's clock, milliseconds.
    """

    log_id: str
    position: int
    recorded_at_ms: int
    clock_ahead_ms: int = 0


class MeasuredStage(msgspec.Struct):
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


def log_line(head: IngestHead, restores: Sequence[RestoreFinding] = ()) -> StatusLine:
    """``restores``: what was found that is not of this log, and nobody has looked into."""
    if not restores and head.clock_ahead_ms > CLOCK_AHEAD_ALERT_MS:
        state = f"log clock ahead by {head.clock_ahead_ms / 1000:,.0f} s"
        advice = "a writer's clock was ahead: set the clocks (NTP). Until then `known` is not as of now"
        return StatusLine("log", state, head.position, 0, advice=advice)
    if not restores:
        return StatusLine("log", "ok" if head.position else "empty", head.position, 0)
    beyond, ended = max(one.beyond for one in restores), min(one.head for one in restores)
    who = ", ".join(one.found_by for one in restores)
    state = f"restored, or another one: it ended at {ended:,} where {beyond:,} was known (found by {who})"
    return StatusLine(
        "log", state, head.position, 0, advice="docs/backup.md says what is lost; then `restored --accept`"
    )


def stage_line(
    name: str,
    report: StageReport | None,
    head: IngestHead,
    late_after_s: float,
    own: MeasuredStage | None = None,
    *,
    served: bool = True,
) -> StatusLine:
    """A stage by its own report and by what the caller found. ``served``: whether a `serve` is running at all."""
    own = own or MeasuredStage()
    if own.not_ours:
        state = f"{own.not_ours} shards hold what this log has not: it was restored, or is another one"
        advice = f"`serve` folds them anew within seconds; if it stays, see its log, then rebuild-projection {name}"
        return StatusLine(name, state, 0 if report is None else report.progress.position, own.lag_events, advice=advice)
    if report is None or not served:
        lag = own.lag_events if own.lag_events is not None else (head.position if report is None else None)
        state = "never ran" if report is None else "not running"
        position = 0 if report is None else report.progress.position
        delay_s = own.delay_s if lag else 0.0
        return StatusLine(name, state, position, lag, delay_s, "start `python app.py serve`", own.parked or None)
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
    return StatusLine(name, state, progress.position, behind, seconds, advice, own.parked)


def whole(log_id: str, stages: Sequence[StatusLine]) -> StatusReport:
    return StatusReport(all(line.good for line in stages), log_id, list(stages))


NOT_LATE = "the pipeline is not late"


def device_line(
    before: IngestDelays | None, now_ms: int, late_after_s: float, pipeline: Sequence[StatusLine]
) -> StatusLine:
    """The phones and their network: how long their pings take, and whether any comes at all.

    Silence is no error: a fleet may sleep, and history may be imported. What must not happen is to blame the pipeline
    for it, nor the phones for a pipeline that is late.
    """
    if before is None:
        return StatusLine("device", "no ping yet", None)
    took_s = None if before.device is None else before.device.median
    age_s = max(0.0, (now_ms - before.newest_ms) / 1000)
    words = _late_words(pipeline, late_after_s)
    if age_s > late_after_s:
        state = f"the phones are silent for {age_s:,.0f} s; {words}"
    elif words == NOT_LATE:
        state = "pings come"
    else:
        state = f"pings come; {words}"
    return StatusLine("device", state, None, None, took_s)


def _late_words(pipeline: Sequence[StatusLine], late_after_s: float) -> str:
    late = [line.stage for line in pipeline if (line.lag_seconds or 0.0) > late_after_s]
    if late:
        return f"the pipeline is late: {', '.join(late)}"
    unknown = [line.stage for line in pipeline if line.lag_seconds is None]
    return f"how late {', '.join(unknown)} is nobody knows" if unknown else NOT_LATE


def ingest_line(before: IngestDelays | None, reports: Sequence[StageReport], late_after_s: float) -> StatusLine:
    """From the reception of a ping to its commit: what waits in the APIs now, else how long the latest ones took."""
    telling = [report.progress for report in reports if report.connected]
    waiting = sum(progress.lag_events for progress in telling) if telling else None
    took = before.ingest if before is not None else None
    seconds = max((progress.delay_s for progress in telling if progress.lag_events), default=None)
    if seconds is None and took is not None:
        seconds = took.median
    late = seconds is not None and seconds > late_after_s
    state = "late" if late else "ok" if took is not None or telling else "no ping yet"
    if took is not None:
        state += f", to commit at worst {took.worst:,.2f} s"
    advice = "the database is slow or away; see its log and its disk" if late else ""
    return StatusLine("ingest", state, None, waiting, seconds, advice)


def kafka_line(state: str, advice: str, tailer: StageReport | None, delay_s: float | None) -> StatusLine:
    """What was handed to Kafka and is not acknowledged; its oldest is the oldest that the tailer has not passed."""
    waiting = None
    if tailer is not None and tailer.connected:
        waiting = int(tailer.progress.detail.get("in_flight", 0))
    seconds = None if waiting is None else delay_s if waiting else 0.0
    return StatusLine("kafka", state, None, waiting, seconds, advice)


RETAINED_ALERT_BYTES = 1 << 30
"""WAL kept for the slot past which disk space is at stake: the tailer does not keep up, or does not run."""
SAFE_ALERT_BYTES = 1 << 30
"""WAL that may still be written before the slot is in danger; less of it leaves no time to act."""
_BY_A_TAILER = (
    "end the relay; `RIDELOG_RELAY=wal python app.py serve --only tailer` makes it, fills the topic: docs/debezium.md"
)


def external_line() -> StatusLine:
    """In the tailer's place, where ``RIDELOG_RELAY=external`` leaves its work to another program."""
    return StatusLine("tailer", "external: another program publishes, look there for how far it is", None)


def slot_line(name: str, slot: SlotState | None, relay: str, position: int) -> StatusLine:
    """The replication slot ``name``: what it keeps on the database's disk, and how safe it is there."""
    if relay == "polling":
        return _unused(name, slot, position)
    external = relay == "external"
    if slot is None:
        advice = "the tailer makes it when it starts, and fills what the topic lacks: run `python app.py serve`"
        return StatusLine("slot", "missing", 0, advice=_BY_A_TAILER if external else advice)
    if slot.is_lost:
        why = slot.invalidation_reason or "max_slot_wal_keep_size"
        advice = "the tailer makes it anew and fills the topic from the event store: run `python app.py serve`"
        return StatusLine("slot", f"lost ({why})", position, advice=_BY_A_TAILER if external else advice)
    reader = "the relay" if external else "the tailer"
    state = f"{slot.wal_status}, {slot.retained_bytes / 1e6:,.1f} MB of WAL kept"
    advice = ""
    if slot.safe_wal_size is not None:
        state += f", lost after {max(0, slot.safe_wal_size) / 1e6:,.1f} MB more"
        if slot.safe_wal_size < SAFE_ALERT_BYTES:
            advice = f"start {reader}, give it CPU, or raise max_slot_wal_keep_size"
    if slot.retained_bytes > RETAINED_ALERT_BYTES:
        advice = f"{reader} does not keep up or does not run: the database's disk fills"
    return StatusLine("slot", state, position, advice=advice)


def _unused(name: str, slot: SlotState | None, position: int) -> StatusLine:
    if slot is None:
        return StatusLine("slot", "none: the polling relay reads the table", position)
    advice = f"nobody reads it, and it keeps WAL for ever: SELECT pg_drop_replication_slot('{name}')"
    return StatusLine("slot", f"left over, {slot.retained_bytes / 1e6:,.1f} MB of WAL kept", position, advice=advice)


def standby_lines(reports: Sequence[StageReport]) -> list[StatusLine]:
    """One line if tailers wait to take over; none is no fault."""
    waiting = [report for report in reports if report.stage == STANDBY and report.connected]
    if not waiting:
        return []
    hosts = ", ".join(report.instance.split(":", 1)[0] for report in waiting)
    return [StatusLine("standby", f"{len(waiting)} waiting, on {hosts}", None)]


def parity_line(projection: str, tally: ReadTally) -> StatusLine:
    """Red while a mismatch is on record for the generation that readers follow: what they are given is wrong."""
    if not tally.checked and not tally.unchecked and not tally.mismatches:
        return StatusLine("parity", "no served reads on record", None)
    state = f"{tally.checked:,} checked, {tally.mismatches:,} different, {tally.unchecked:,} unchecked"
    advice = ""
    if tally.mismatches:
        wrong = f"generation {tally.generation} is not what the log says"
        advice = f"{wrong}: verify-parity, then rebuild-projection {projection}"
    return StatusLine("parity", state, None, advice=advice)
