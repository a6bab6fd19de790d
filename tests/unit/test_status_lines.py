"""From facts to lines that say what to do."""

from __future__ import annotations

from infrastructure.observability.freshness import Before, Spread
from infrastructure.observability.stages import Progress, StageReport
from infrastructure.status.judge import (
    RETAINED_ALERT_BYTES,
    Head,
    Own,
    device_line,
    ingest_line,
    log_line,
    slot_line,
    stage_line,
    whole,
)

NOW_MS = 1_790_000_000_000
LATE_S = 30.0
HEAD = Head("log-1", 100, NOW_MS - 2_000)


def report(age_s: float = 0.5, **progress: object) -> StageReport:
    return StageReport("speed", "host:1", age_s, Progress(**{"position": 100, **progress}))  # type: ignore[arg-type]


def test_a_stage_that_is_caught_up_is_good() -> None:
    line = stage_line("speed", report(), HEAD, LATE_S)
    assert (line.state, line.lag_events, line.lag_seconds, line.good) == ("running", 0, 0.0, True)


def test_what_the_caller_counted_is_better_than_the_report() -> None:
    line = stage_line("speed", report(lag_events=7, delay_s=9.0), HEAD, LATE_S, Own(3, 5.0))
    assert (line.lag_events, line.lag_seconds, line.good) == (3, 5.0, True)


def test_a_stage_later_than_twice_the_target_is_late_and_says_what_to_do() -> None:
    line = stage_line("speed", report(lag_events=3, delay_s=30.1), HEAD, LATE_S)
    assert (line.state, line.good) == ("late", False)
    assert stage_line("speed", report(lag_events=3, delay_s=29.9), HEAD, LATE_S).good
    # Nothing waits: however old the newest event is, the stage is not late.
    assert stage_line("speed", report(newest_ms=1), HEAD, LATE_S).good


def test_a_silent_stage_and_one_that_never_ran_are_not_good() -> None:
    assert "silent" in stage_line("speed", report(age_s=60), HEAD, LATE_S).state
    never = stage_line("speed", None, HEAD, LATE_S)
    assert (never.state, never.lag_events) == ("never ran", 100)
    assert "serve" in never.advice


def test_a_report_of_a_service_that_has_ended_does_not_say_running() -> None:
    line = stage_line("speed", report(), HEAD, LATE_S, served=False)
    assert (line.state, line.good) == ("not running", False)


def test_a_stage_that_waits_for_a_server_names_it() -> None:
    line = stage_line("speed", report(state="PortUnavailable: Redis: refused"), HEAD, LATE_S)
    assert "Redis" in line.state
    assert not line.good
    waiting = stage_line("speed", report(state="waiting for Kafka to assign partitions"), HEAD, LATE_S)
    assert "some seconds" in waiting.advice


def test_parked_keys_and_a_rebuild_that_is_due_are_told() -> None:
    parked = stage_line("speed", report(), HEAD, LATE_S, Own(0, 0.0, parked=2))
    assert (parked.parked, parked.good) == (2, False)
    assert "parked list" in parked.advice
    due = stage_line("speed", report(), HEAD, LATE_S, Own(0, 0.0, due=True))
    assert due.advice == "run rebuild-projection speed"


def test_silent_phones_are_told_from_a_late_pipeline() -> None:
    def device(age_s: int, *, late: bool) -> str:
        before = Before(Spread(0.4, 7.0), Spread(0.01, 0.2), NOW_MS - age_s * 1000)
        return device_line(before, NOW_MS, LATE_S, late).state

    assert device(3, late=False) == "pings take 0.4 s to ingest (worst 7.0 s)"
    assert "the phones are silent, the pipeline is not late" in device(300, late=False)
    assert "the pipeline is late too" in device(300, late=True)
    assert device_line(None, NOW_MS, LATE_S, False).state == "no ping yet"


def test_ingest_tells_of_a_slow_database() -> None:
    assert ingest_line(Before(Spread(0, 0), Spread(0.01, 0.5), NOW_MS), LATE_S).good
    assert not ingest_line(Before(Spread(0, 0), Spread(31.0, 50.0), NOW_MS), LATE_S).good


def test_the_slot_tells_of_the_disk_it_fills() -> None:
    assert slot_line(1_000, "reserved", 100).good
    assert not slot_line(RETAINED_ALERT_BYTES + 1, "reserved", 100).good
    assert "drop the slot" in slot_line(0, "lost", 100).advice
    assert slot_line(None, None, 100).state == "missing"


def test_the_whole_is_good_when_every_line_is() -> None:
    good = log_line(HEAD)
    assert whole("log-1", [good]).good
    assert not whole("log-1", [good, stage_line("speed", None, HEAD, LATE_S)]).good
    assert log_line(Head("log-1", 0, 0)).state == "empty"
