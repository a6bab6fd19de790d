"""Turns measurements of the stages into status lines with advice. Pure.

One function per line: the stages that report themselves; phones, ingest and Kafka, which do not; the slot and the
standby tailers. Those of the audits are in ``audit_lines``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from infrastructure.cdc.replication_slot import SlotState
from infrastructure.observability.lag import IngestDelays
from infrastructure.observability.stage_reports import STANDBY, StageReport
from infrastructure.postgres.restore_findings import RestoreFinding
from infrastructure.status.failure_text import failure_text


class StatusLine(msgspec.Struct):
    """The line of one stage.

    ``lag_events`` and ``lag_seconds``: how many events it has not passed, and for how long the oldest of them has
    waited; for ``device`` and ``ingest``, how long the latest pings took. None: unknown, or not applicable.
    ``parked``: parked keys of a projection.
    """

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


class IngestHead(msgspec.Struct):
    """The head of the log: its position, and when its last event was recorded (epoch milliseconds).

    ``clock_ahead_ms``: how far that is ahead of the database's clock, milliseconds.
    """

    log_id: str
    position: int
    recorded_at_ms: int
    clock_ahead_ms: int = 0


class MeasuredStage(msgspec.Struct):
    """What the caller has measured of a stage from outside; it takes precedence over the stage's report.

    ``fold_changed``: another fold than this code's has written the served generation. ``foreign_shards``: shards that
    do not match the log.
    """

    lag_events: int | None = None
    delay_s: float | None = None
    parked: int = 0
    fold_changed: bool = False
    foreign_shards: int = 0


CLOCK_AHEAD_ALERT_MS = 10_000
"""How far the log's clock may be ahead of the database's before ``status`` says so, in milliseconds."""


def log_line(head: IngestHead, restores: Sequence[RestoreFinding] = ()) -> StatusLine:
    """The log itself. ``restores``: findings of another or an older log that no operator has accepted yet."""
    if not restores and head.clock_ahead_ms > CLOCK_AHEAD_ALERT_MS:
        state = f"log clock ahead by {head.clock_ahead_ms / 1000:,.0f} s"
        advice = "a writer's clock was ahead: set the clocks (NTP). Until then `known` does not reach the present"
        return StatusLine("log", state, head.position, 0, advice=advice)
    if not restores:
        return StatusLine("log", "ok" if head.position else "empty", head.position, 0)
    beyond, ended = max(one.beyond for one in restores), min(one.head for one in restores)
    who = ", ".join(one.found_by for one in restores)
    state = f"restored or replaced: it ended at {ended:,}, but position {beyond:,} was known (found by {who})"
    return StatusLine(
        "log", state, head.position, 0, advice="see docs/backup.md for what is lost; then run `restored --accept`"
    )


def stage_line(
    name: str,
    report: StageReport | None,
    head: IngestHead,
    late_after_s: float,
    measured: MeasuredStage | None = None,
    *,
    served: bool = True,
) -> StatusLine:
    """A stage by its own report and by the caller's measurement. ``served``: whether a `serve` is running at all."""
    measured = measured or MeasuredStage()
    if measured.foreign_shards:
        state = f"{measured.foreign_shards} shards do not match the log: it was restored or replaced"
        advice = (
            f"`serve` refolds them within seconds; if this persists, see its log, then run rebuild-projection {name}"
        )
        return StatusLine(
            name, state, 0 if report is None else report.progress.position, measured.lag_events, advice=advice
        )
    if report is None or not served:
        lag = measured.lag_events if measured.lag_events is not None else (head.position if report is None else None)
        state = "never ran" if report is None else "not running"
        position = 0 if report is None else report.progress.position
        delay_s = measured.delay_s if lag else 0.0
        return StatusLine(name, state, position, lag, delay_s, "start `python app.py serve`", measured.parked or None)
    progress = report.progress
    behind, seconds = measured.lag_events, measured.delay_s
    if behind is None and report.connected:
        behind, seconds = progress.lag_events, progress.delay_s
    if seconds is None and report.connected:
        # The recording times are ahead of the clock: only the stage, which observed the log, knows the delay.
        seconds = progress.delay_s
    if behind == 0:
        seconds = 0.0
    state, advice = "running", ""
    if measured.fold_changed:
        state, advice = "rebuild is due: it was folded by other code", f"run rebuild-projection {name}"
    elif progress.state.startswith(("stuck", "hangs")):
        state, advice = progress.state, "it is restarted after one or two minutes; its log shows what it waited for"
    elif not report.alive:
        state, advice = "its process has ended", "`serve` restarts it in a moment; if this persists, see its log"
    elif not report.connected and progress.state == "running":
        state, advice = f"silent for {report.age_s:.0f} s", "is `serve` running? see its log, and restart it"
    elif progress.state.startswith("waiting for Kafka"):
        state, advice = progress.state, "a start takes some seconds; if this persists, check the broker"
    elif not report.connected:
        state, advice = failure_text(progress.state)
    elif (seconds or 0.0) > late_after_s:
        state, advice = "late", "it is catching up; if the delay grows, give it CPU"
    if measured.parked:
        held = f"{measured.parked:,} parked keys: `parked list`"
        advice = f"{advice}; {held}" if advice else held
    return StatusLine(name, state, progress.position, behind, seconds, advice, measured.parked)


def city_line(report: StageReport | None, snapshot: int | None, age_s: float | None, *, served: bool) -> StatusLine:
    """The city: number and age in seconds of the newest snapshot that is stored; None before the first."""
    state, advice = "no snapshot yet" if snapshot is None else f"snapshot {snapshot:,}", ""
    if report is None or not served:
        state, advice = f"{state}, not running", "start `python app.py serve`"
    elif not report.alive:
        state, advice = f"{state}, its process has ended", "`serve` restarts it in a moment; if not, see its log"
    elif report.progress.state != "running":
        failure = failure_text(report.progress.state)
        state, advice = f"{state}; {failure.state}", failure.advice
    elif not report.connected:
        state, advice = f"{state}, silent for {report.age_s:.0f} s", "is `serve` running? see its log, and restart it"
    elif foreign := report.progress.detail.get("foreign_shards", 0):
        state, advice = f"{state}, without {foreign} shards that do not match the log", "they are refolded"
    return StatusLine("city", state, None, None, age_s, advice)


NOT_LATE = "the pipeline is not late"


def device_line(
    before: IngestDelays | None, now_ms: int, late_after_s: float, pipeline: Sequence[StatusLine]
) -> StatusLine:
    """The phones and their network: how long their pings take, and whether any arrive.

    Silence is no error: a fleet may sleep, and history may be imported. The line must not blame the pipeline for silent
    phones, nor the phones for a late pipeline.
    """
    if before is None:
        return StatusLine("device", "no ping yet", None)
    took_s = None if before.device is None else before.device.median
    age_s = max(0.0, (now_ms - before.newest_ms) / 1000)
    pipeline_state = _pipeline_state(pipeline, late_after_s)
    if age_s > late_after_s:
        state = f"the phones are silent for {age_s:,.0f} s; {pipeline_state}"
    elif pipeline_state == NOT_LATE:
        state = "pings come"
    else:
        state = f"pings come; {pipeline_state}"
    return StatusLine("device", state, None, None, took_s)


def _pipeline_state(pipeline: Sequence[StatusLine], late_after_s: float) -> str:
    late = [line.stage for line in pipeline if (line.lag_seconds or 0.0) > late_after_s]
    if late:
        return f"the pipeline is late: {', '.join(late)}"
    unknown = [line.stage for line in pipeline if line.lag_seconds is None]
    return f"the delay of {', '.join(unknown)} is unknown" if unknown else NOT_LATE


def ingest_line(before: IngestDelays | None, reports: Sequence[StageReport], late_after_s: float) -> StatusLine:
    """From reception to commit: the pings that wait in the APIs now, or else how long the latest ones took."""
    reporting = [report.progress for report in reports if report.connected]
    waiting = sum(progress.lag_events for progress in reporting) if reporting else None
    took = before.ingest if before is not None else None
    seconds = max((progress.delay_s for progress in reporting if progress.lag_events), default=None)
    if seconds is None and took is not None:
        seconds = took.median
    late = seconds is not None and seconds > late_after_s
    state = "late" if late else "ok" if took is not None or reporting else "no ping yet"
    if took is not None:
        state += f", slowest commit {took.worst:,.2f} s"
    advice = "the database is slow or unavailable; see its log and its disk" if late else ""
    return StatusLine("ingest", state, None, waiting, seconds, advice)


def kafka_line(state: str, advice: str, tailer: StageReport | None, delay_s: float | None) -> StatusLine:
    """Records sent to Kafka and not acknowledged; the oldest of them is the oldest that the tailer has not passed."""
    waiting = None
    if tailer is not None and tailer.connected:
        waiting = int(tailer.progress.detail.get("in_flight", 0))
    seconds = None if waiting is None else delay_s if waiting else 0.0
    return StatusLine("kafka", state, None, waiting, seconds, advice)


RETAINED_ALERT_BYTES = 1 << 30
"""More WAL than this kept for the slot endangers disk space: the tailer does not keep up, or does not run."""
SAFE_ALERT_BYTES = 1 << 30
"""WAL that may still be written before the slot is in danger. With less, no time is left to act."""
_BY_A_TAILER = (
    "stop the relay; `RIDELOG_RELAY=wal python app.py serve --only tailer` creates, fills the topic: docs/debezium.md"
)


def external_line() -> StatusLine:
    """Takes the tailer's place if ``RIDELOG_RELAY=external`` leaves its work to another program."""
    return StatusLine("tailer", "external: another program publishes, look there for how far it is", None)


def slot_line(name: str, slot: SlotState | None, relay: str, position: int) -> StatusLine:
    """The replication slot ``name``: how much WAL it keeps on disk, and how close the slot is to being lost."""
    if relay == "polling":
        return _unused(name, slot, position)
    external = relay == "external"
    if slot is None:
        advice = "the tailer creates it when it starts, and fills what the topic lacks: run `python app.py serve`"
        return StatusLine("slot", "missing", 0, advice=_BY_A_TAILER if external else advice)
    if slot.is_lost:
        why = slot.invalidation_reason or "max_slot_wal_keep_size"
        advice = "the tailer re-creates it and fills the topic from the event store: run `python app.py serve`"
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
    advice = f"nothing reads it, and it keeps WAL for ever: SELECT pg_drop_replication_slot('{name}')"
    return StatusLine("slot", f"left over, {slot.retained_bytes / 1e6:,.1f} MB of WAL kept", position, advice=advice)


def standby_lines(reports: Sequence[StageReport]) -> list[StatusLine]:
    """One line if tailers wait to take over; having none is no fault."""
    waiting = [report for report in reports if report.stage == STANDBY and report.connected]
    if not waiting:
        return []
    hosts = ", ".join(report.instance.split(":", 1)[0] for report in waiting)
    return [StatusLine("standby", f"{len(waiting)} waiting, on {hosts}", None)]
