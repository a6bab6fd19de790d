"""The lines of what is before and beside the stages that report of themselves: phones, ingest, Kafka. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.observability.freshness import Before
from infrastructure.observability.stages import StageReport
from infrastructure.status.judge import Line

NOT_LATE = "the pipeline is not late"


def device_line(before: Before | None, now_ms: int, late_after_s: float, pipeline: Sequence[Line]) -> Line:
    """The phones and their network: how long their pings take, and whether any comes at all.

    Silence is no error: a fleet may sleep, and history may be imported. What must not happen is to blame the pipeline
    for it, nor the phones for a pipeline that is late.
    """
    if before is None:
        return Line("device", "no ping yet", None)
    took_s = None if before.device is None else before.device.median
    age_s = max(0.0, (now_ms - before.newest_ms) / 1000)
    words = _late_words(pipeline, late_after_s)
    if age_s > late_after_s:
        state = f"the phones are silent for {age_s:,.0f} s; {words}"
    elif words == NOT_LATE:
        state = "pings come"
    else:
        state = f"pings come; {words}"
    return Line("device", state, None, None, took_s)


def _late_words(pipeline: Sequence[Line], late_after_s: float) -> str:
    late = [line.stage for line in pipeline if (line.lag_seconds or 0.0) > late_after_s]
    if late:
        return f"the pipeline is late: {', '.join(late)}"
    unknown = [line.stage for line in pipeline if line.lag_seconds is None]
    return f"how late {', '.join(unknown)} is nobody knows" if unknown else NOT_LATE


def ingest_line(before: Before | None, reports: Sequence[StageReport], late_after_s: float) -> Line:
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
    return Line("ingest", state, None, waiting, seconds, advice)


def kafka_line(state: str, advice: str, tailer: StageReport | None, delay_s: float | None) -> Line:
    """What was handed to Kafka and is not acknowledged; its oldest is the oldest that the tailer has not passed."""
    waiting = None
    if tailer is not None and tailer.connected:
        waiting = int(tailer.progress.detail.get("in_flight", 0))
    seconds = None if waiting is None else delay_s if waiting else 0.0
    return Line("kafka", state, None, waiting, seconds, advice)
