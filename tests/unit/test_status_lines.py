"""From facts to lines that say what to do."""

from __future__ import annotations

from infrastructure.observability.stages import Progress, StageReport
from infrastructure.status.judge import RETAINED_ALERT_BYTES, Head, log_line, slot_line, stage_line, whole

NOW_MS = 1_790_000_000_000
HEAD = Head("log-1", 100, NOW_MS - 2_000)


def report(age_s: float = 0.5, **progress: object) -> StageReport:
    return StageReport("speed", "host:1", age_s, Progress(**{"position": 100, **progress}))  # type: ignore[arg-type]


def test_a_stage_that_is_caught_up_is_good() -> None:
    line = stage_line("speed", report(), HEAD, NOW_MS)
    assert (line.state, line.lag_events, line.lag_seconds, line.good) == ("running", 0, 0.0, True)


def test_what_the_caller_counted_is_better_than_the_report() -> None:
    line = stage_line("speed", report(lag_events=7, newest_ms=NOW_MS - 5_000), HEAD, NOW_MS, lag=3)
    assert (line.lag_events, line.lag_seconds, line.good) == (3, 5.0, True)


def test_a_stage_that_lags_for_long_says_so() -> None:
    line = stage_line("speed", report(newest_ms=NOW_MS - 61_000), HEAD, NOW_MS, lag=3)
    assert line.state == "behind"
    assert not line.good


def test_a_silent_stage_and_one_that_never_ran_are_not_good() -> None:
    assert "silent" in stage_line("speed", report(age_s=60), HEAD, NOW_MS).state
    never = stage_line("speed", None, HEAD, NOW_MS)
    assert (never.state, never.lag_events) == ("never ran", 100)
    assert "serve" in never.advice


def test_a_stage_that_waits_for_a_server_names_it() -> None:
    line = stage_line("speed", report(state="PortUnavailable: Redis: refused"), HEAD, NOW_MS)
    assert "Redis" in line.state
    assert not line.good


def test_the_slot_tells_of_the_disk_it_fills() -> None:
    assert slot_line(1_000, "reserved", 100).good
    assert not slot_line(RETAINED_ALERT_BYTES + 1, "reserved", 100).good
    assert "drop the slot" in slot_line(0, "lost", 100).advice
    assert slot_line(None, None, 100).state == "missing"


def test_the_whole_is_good_when_every_line_is() -> None:
    good = log_line(HEAD, NOW_MS)
    assert good.lag_seconds == 2.0
    assert whole("log-1", [good]).good
    assert not whole("log-1", [good, stage_line("speed", None, HEAD, NOW_MS)]).good
    assert log_line(Head("log-1", 0, 0), NOW_MS).state == "empty"
