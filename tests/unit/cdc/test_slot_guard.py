"""The start-up checks of a relay: checkpoint against slot and log; and the status lines of the slot."""

from __future__ import annotations

from uuid import UUID

import pytest

from infrastructure.cdc.relay_checkpoint import RelayCheckpoint
from infrastructure.cdc.replication_slot import SlotState
from infrastructure.cdc.tailer import GAP, NEXT, REPEATED, PositionVerdict, classify_position, is_missing_events
from infrastructure.cdc.wal_relay import (
    NO_ID,
    StartPosition,
    known_ids,
    needs_creation,
    recreated_topics,
    slot_fault,
    start_position,
)
from infrastructure.observability import metrics
from infrastructure.observability.stage_reports import STANDBY, StageProgress, StageReport
from infrastructure.status.lines import RETAINED_ALERT_BYTES, SAFE_ALERT_BYTES, slot_line, standby_lines
from infrastructure.status.pipeline_monitor import show_slot

LOG, OTHER = UUID(int=1), UUID(int=2)
CHECKPOINT = RelayCheckpoint(LOG, 50, 1_000, {"gps-pings": "a"})


def slot(**values: object) -> SlotState:
    return SlotState(
        **{
            "active": False,
            "confirmed": 1_000,
            "wal_status": "reserved",
            "safe_wal_size": None,
            "retained_bytes": 1_000,
            "behind_bytes": 0,
            **values,
        }  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("last", "position", "verdict"), [(None, 7, NEXT), (6, 7, NEXT), (7, 7, REPEATED), (8, 7, REPEATED), (5, 7, GAP)]
)
def test_the_next_position_is_the_last_one_plus_one(last: int | None, position: int, verdict: PositionVerdict) -> None:
    assert classify_position(last, position) is verdict


def test_a_head_above_the_last_position_reveals_a_gap() -> None:
    assert [is_missing_events(last, 5) for last in (None, 4, 5, 6)] == [False, True, False, False]


def test_the_topic_resumes_after_the_checkpoint_of_this_log() -> None:
    assert start_position(CHECKPOINT, LOG, 60) == StartPosition(50)
    assert start_position(None, LOG, 60) == StartPosition(None)
    replaced = start_position(CHECKPOINT, OTHER, 60)
    assert replaced.position == 0
    assert "replaced" in replaced.message
    shorter = start_position(CHECKPOINT, LOG, 40)
    assert shorter.position == 40
    assert "restored" in shorter.message


def test_an_unchanged_slot_and_a_first_slot_have_no_fault() -> None:
    assert slot_fault(slot(), CHECKPOINT, "s", 60) == ""
    assert slot_fault(slot(confirmed=900), CHECKPOINT, "s", 60) == ""
    assert slot_fault(None, None, "s", 60) == ""
    # A slot from before checkpoints existed, and one that was just created.
    assert slot_fault(slot(confirmed=5_000), None, "s", 60) == ""
    assert slot_fault(slot(confirmed=5_000), CHECKPOINT._replace(confirmed_lsn=0), "s", 60) == ""


def test_regression_a_slot_that_the_driver_moved_past_wal_without_events_has_no_fault() -> None:
    assert slot_fault(slot(confirmed=1_001), CHECKPOINT, "s", head=CHECKPOINT.position) == ""


def test_slot_faults_are_described() -> None:
    assert "missing" in slot_fault(None, CHECKPOINT, "s", 60)
    assert "wal_removed" in slot_fault(slot(wal_status="lost", invalidation_reason="wal_removed"), CHECKPOINT, "s", 60)
    # Not every server reports why.
    assert "(max_slot_wal_keep_size)" in slot_fault(slot(wal_status="lost"), CHECKPOINT, "s", 60)
    assert "another process" in slot_fault(slot(confirmed=1_001), CHECKPOINT, "s", 60)
    assert [needs_creation(one) for one in (None, slot(), slot(wal_status="lost"))] == [True, False, True]


def test_topics_that_were_made_anew_are_told_by_their_ids() -> None:
    assert recreated_topics(CHECKPOINT, {"gps-pings": "a", "deliveries": "b"}) == []
    assert recreated_topics(CHECKPOINT, {"gps-pings": "c"}) == ["gps-pings"]
    assert recreated_topics(None, {"gps-pings": "c"}) == []
    assert known_ids({"x": NO_ID, "y": "", "z": "1"}) == {"z": "1"}


def test_the_slot_line_reports_disk_usage_and_danger() -> None:
    assert slot_line("s", slot(), "wal", 100).good
    assert "disk fills" in slot_line("s", slot(retained_bytes=RETAINED_ALERT_BYTES + 1), "wal", 100).advice
    danger = slot_line("s", slot(safe_wal_size=SAFE_ALERT_BYTES - 1), "wal", 100)
    assert "max_slot_wal_keep_size" in danger.advice
    assert slot_line("s", slot(safe_wal_size=SAFE_ALERT_BYTES), "wal", 100).good
    lost = slot_line("s", slot(wal_status="lost", invalidation_reason="wal_removed"), "wal", 100)
    assert lost.state == "lost (wal_removed)"
    assert "re-creates it" in lost.advice
    assert slot_line("s", None, "wal", 100).state == "missing"


def test_with_the_polling_relay_a_leftover_slot_is_reported() -> None:
    assert slot_line("s", None, "polling", 100).good
    assert "pg_drop_replication_slot('s')" in slot_line("s", slot(), "polling", 100).advice


def test_with_an_external_relay_the_slot_is_monitored_without_advice_that_serve_creates_it() -> None:
    assert slot_line("s", slot(), "external", 100).good
    slow = slot_line("s", slot(retained_bytes=RETAINED_ALERT_BYTES + 1), "external", 100)
    assert "the relay does not keep up" in slow.advice
    for one in (None, slot(wal_status="lost")):
        assert "RIDELOG_RELAY=wal python app.py serve --only tailer" in slot_line("s", one, "external", 100).advice


def test_tailers_that_wait_are_shown() -> None:
    waiting = StageReport(STANDBY, "there:7:x:y", 0.5, StageProgress())
    assert [line.state for line in standby_lines([waiting])] == ["1 waiting, on there"]
    assert standby_lines([StageReport(STANDBY, "there:7:x:y", 60, StageProgress())]) == []


def test_the_metrics_of_the_slot() -> None:
    def shown() -> tuple[float, float, float]:
        of = metrics.SLOT_STATUS.labels
        return of("reserved")._value.get(), of("missing")._value.get(), metrics.SLOT_SAFE._value.get()

    show_slot(slot(safe_wal_size=5))
    assert shown() == (1, 0, 5)
    show_slot(slot())
    assert shown() == (1, 0, float("inf"))
    show_slot(None)
    assert shown() == (0, 1, float("inf"))
