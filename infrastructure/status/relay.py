"""Lines of ``status`` about the way from the event store to Kafka: the slot, and the tailers that wait. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.cdc.slot import SlotState
from infrastructure.observability.stages import STANDBY, StageReport
from infrastructure.status.judge import Line

RETAINED_ALERT_BYTES = 1 << 30
"""WAL kept for the slot past which disk space is at stake: the tailer does not keep up, or does not run."""
SAFE_ALERT_BYTES = 1 << 30
"""WAL that may still be written before the slot is in danger; less of it leaves no time to act."""
_BY_A_TAILER = (
    "end the relay; `RIDELOG_RELAY=wal python app.py serve --only tailer` makes it, fills the topic: docs/debezium.md"
)


def external_line() -> Line:
    """In the tailer's place, where ``RIDELOG_RELAY=external`` leaves its work to another program."""
    return Line("tailer", "external: another program publishes, look there for how far it is", None)


def slot_line(name: str, slot: SlotState | None, relay: str, position: int) -> Line:
    """The replication slot ``name``: what it keeps on the database's disk, and how safe it is there."""
    if relay == "polling":
        return _unused(name, slot, position)
    external = relay == "external"
    if slot is None:
        advice = "the tailer makes it when it starts, and fills what the topic lacks: run `python app.py serve`"
        return Line("slot", "missing", 0, advice=_BY_A_TAILER if external else advice)
    if slot.is_lost:
        why = slot.invalidation_reason or "max_slot_wal_keep_size"
        advice = "the tailer makes it anew and fills the topic from the event store: run `python app.py serve`"
        return Line("slot", f"lost ({why})", position, advice=_BY_A_TAILER if external else advice)
    reader = "the relay" if external else "the tailer"
    state = f"{slot.wal_status}, {slot.retained_bytes / 1e6:,.1f} MB of WAL kept"
    advice = ""
    if slot.safe_wal_size is not None:
        state += f", lost after {max(0, slot.safe_wal_size) / 1e6:,.1f} MB more"
        if slot.safe_wal_size < SAFE_ALERT_BYTES:
            advice = f"start {reader}, give it CPU, or raise max_slot_wal_keep_size"
    if slot.retained_bytes > RETAINED_ALERT_BYTES:
        advice = f"{reader} does not keep up or does not run: the database's disk fills"
    return Line("slot", state, position, advice=advice)


def _unused(name: str, slot: SlotState | None, position: int) -> Line:
    if slot is None:
        return Line("slot", "none: the polling relay reads the table", position)
    advice = f"nobody reads it, and it keeps WAL for ever: SELECT pg_drop_replication_slot('{name}')"
    return Line("slot", f"left over, {slot.retained_bytes / 1e6:,.1f} MB of WAL kept", position, advice=advice)


def standby_lines(reports: Sequence[StageReport]) -> list[Line]:
    """One line if tailers wait to take over; none is no fault."""
    waiting = [report for report in reports if report.stage == STANDBY and report.connected]
    if not waiting:
        return []
    hosts = ", ".join(report.instance.split(":", 1)[0] for report in waiting)
    return [Line("standby", f"{len(waiting)} waiting, on {hosts}", None)]
