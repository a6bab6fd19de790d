"""Status lines: from measurements to advice."""

from __future__ import annotations

from infrastructure.observability.lag import DelaySpread, IngestDelays
from infrastructure.observability.stage_reports import StageProgress, StageReport
from infrastructure.postgres.restore_findings import RestoreFinding
from infrastructure.status.audit_lines import city_audit_line, eta_parity_line, parity_line
from infrastructure.status.lines import (
    IngestHead,
    MeasuredStage,
    StatusLine,
    city_line,
    device_line,
    ingest_line,
    kafka_line,
    log_line,
    stage_line,
)
from infrastructure.status.model_line import ModelRole, ModelsStatus
from infrastructure.status.report import status_report
from projections.parity.city_findings import CityFindings
from projections.parity.served_etas import EtaTally
from projections.parity.served_reads import ReadTally

NOW_MS = 1_790_000_000_000
LATE_S = 30.0
HEAD = IngestHead("log-1", 100, NOW_MS - 2_000)


def report(age_s: float = 0.5, **progress: object) -> StageReport:
    return StageReport("speed", "host:1", age_s, StageProgress(**{"position": 100, **progress}))  # type: ignore[arg-type]


def test_a_stage_that_is_caught_up_is_good() -> None:
    line = stage_line("speed", report(), HEAD, LATE_S)
    assert (line.state, line.lag_events, line.lag_seconds, line.good) == ("running", 0, 0.0, True)


def test_the_caller_s_measurement_takes_precedence_over_the_report() -> None:
    line = stage_line("speed", report(lag_events=7, delay_s=9.0), HEAD, LATE_S, MeasuredStage(3, 5.0))
    assert (line.lag_events, line.lag_seconds, line.good) == (3, 5.0, True)


def test_a_stage_later_than_twice_the_target_is_late_and_gives_advice() -> None:
    line = stage_line("speed", report(lag_events=3, delay_s=30.1), HEAD, LATE_S)
    assert (line.state, line.good) == ("late", False)
    assert stage_line("speed", report(lag_events=3, delay_s=29.9), HEAD, LATE_S).good
    # No event waits, so the stage is not late, however old the newest event is.
    assert stage_line("speed", report(newest_ms=1), HEAD, LATE_S).good


def test_a_log_whose_clock_is_ahead_is_shown() -> None:
    line = log_line(IngestHead("log-1", 100, NOW_MS, clock_ahead_ms=86_399_600))
    assert (line.state, line.good) == ("log clock ahead by 86,400 s", False)
    assert "NTP" in line.advice
    assert log_line(IngestHead("log-1", 100, NOW_MS, clock_ahead_ms=900)).good


def test_an_unknown_delay_is_replaced_by_the_one_that_the_stage_has_observed() -> None:
    line = stage_line("speed", report(lag_events=7, delay_s=90.0), HEAD, LATE_S, MeasuredStage(7, None))
    assert (line.lag_seconds, line.state) == (90.0, "late")


def test_a_silent_stage_and_one_that_never_ran_are_not_good() -> None:
    assert "silent" in stage_line("speed", report(age_s=60), HEAD, LATE_S).state
    never = stage_line("speed", None, HEAD, LATE_S)
    assert (never.state, never.lag_events) == ("never ran", 100)
    assert "serve" in never.advice


def test_the_report_of_an_ended_service_is_not_shown_as_running() -> None:
    line = stage_line("speed", report(), HEAD, LATE_S, served=False)
    assert (line.state, line.good) == ("not running", False)


def test_a_stage_that_waits_for_a_server_names_it() -> None:
    line = stage_line("speed", report(state="PortUnavailable: Redis: refused"), HEAD, LATE_S)
    assert "Redis" in line.state
    assert not line.good
    waiting = stage_line("speed", report(state="waiting for Kafka to assign partitions"), HEAD, LATE_S)
    assert "some seconds" in waiting.advice


def test_parked_keys_and_a_rebuild_that_is_due_are_shown() -> None:
    parked = stage_line("speed", report(), HEAD, LATE_S, MeasuredStage(0, 0.0, parked=2))
    assert (parked.parked, parked.good) == (2, False)
    assert "parked list" in parked.advice
    due = stage_line("speed", report(), HEAD, LATE_S, MeasuredStage(0, 0.0, fold_changed=True))
    assert due.advice == "run rebuild-projection speed"


def test_a_stage_that_waits_for_a_server_has_no_lag_unless_the_caller_measured_it() -> None:
    waiting = report(state="PortUnavailable: Redis: refused")
    unknown = stage_line("speed", waiting, HEAD, LATE_S)
    assert (unknown.lag_events, unknown.lag_seconds) == (None, None)
    known = stage_line("speed", waiting, HEAD, LATE_S, MeasuredStage(8, 13.8))
    assert (known.lag_events, known.lag_seconds, known.good) == (8, 13.8, False)


def test_a_stuck_worker_and_an_ended_one_are_shown() -> None:
    stuck = stage_line("speed", report(state="stuck: events wait, and none was applied for 40 s"), HEAD, LATE_S)
    assert "restarted" in stuck.advice
    ended = report()
    ended.alive = False
    line = stage_line("speed", ended, HEAD, LATE_S)
    assert (line.state, line.good) == ("its process has ended", False)


def pipeline(seconds: float | None = 0.0) -> list[StatusLine]:
    return [StatusLine("tailer", "running", 1, 0, 0.0), StatusLine("speed", "running", 1, 1, seconds)]


def device(age_s: int, stages: list[StatusLine]) -> str:
    before = IngestDelays(DelaySpread(0.4, 7.0), DelaySpread(0.01, 0.2), NOW_MS - age_s * 1000)
    return device_line(before, NOW_MS, LATE_S, stages).state


def test_silent_phones_are_distinguished_from_a_late_pipeline() -> None:
    assert device(3, pipeline()) == "pings come"
    assert device(300, pipeline()) == "the phones are silent for 300 s; the pipeline is not late"
    assert device(3, pipeline(31.0)) == "pings come; the pipeline is late: speed"
    assert device(300, pipeline(31.0)) == "the phones are silent for 300 s; the pipeline is late: speed"
    assert device(300, pipeline(None)) == "the phones are silent for 300 s; the delay of speed is unknown"


def test_the_device_line_shows_how_long_pings_take() -> None:
    assert device_line(None, NOW_MS, LATE_S, []).state == "no ping yet"
    line = device_line(IngestDelays(DelaySpread(0.4, 7.0), None, NOW_MS), NOW_MS, LATE_S, pipeline())
    assert (line.lag_seconds, line.good) == (0.4, True)
    # Pings recorded without a time of reception still count as pings.
    line = device_line(IngestDelays(None, None, NOW_MS), NOW_MS, LATE_S, pipeline())
    assert (line.state, line.lag_seconds) == ("pings come", None)


def test_ingest_shows_what_waits_now_or_else_how_long_the_latest_pings_took() -> None:
    quick = IngestDelays(DelaySpread(0, 0), DelaySpread(0.01, 0.5), NOW_MS)
    line = ingest_line(quick, [report(lag_events=0)], LATE_S)
    assert (line.lag_events, line.lag_seconds, line.good) == (0, 0.01, True)
    # One of two APIs waits for a lock: the latest committed pings do not show that.
    line = ingest_line(quick, [report(lag_events=2, delay_s=0.1), report(lag_events=5, delay_s=31.0)], LATE_S)
    assert (line.lag_events, line.lag_seconds, line.good) == (7, 31.0, False)
    assert not ingest_line(IngestDelays(DelaySpread(0, 0), DelaySpread(31.0, 50.0), NOW_MS), [], LATE_S).good
    assert ingest_line(None, [], LATE_S).state == "no ping yet"


def test_the_kafka_line_shows_what_is_not_acknowledged() -> None:
    line = kafka_line("gps-pings by 8 partitions", "", report(detail={"in_flight": 12}), 4.0)
    assert (line.position, line.lag_events, line.lag_seconds, line.good) == (None, 12, 4.0, True)
    assert kafka_line("", "", report(detail={"in_flight": 0}), 4.0).lag_seconds == 0.0
    assert kafka_line("", "", report(age_s=60, detail={"in_flight": 12}), 4.0).lag_events is None


def test_the_city_line_shows_the_newest_snapshot_and_why_there_is_no_newer_one() -> None:
    good = city_line(report(), 7, 1.5, served=True)
    assert (good.state, good.lag_seconds, good.good) == ("snapshot 7", 1.5, True)
    assert city_line(None, None, None, served=True).state == "no snapshot yet, not running"
    assert not city_line(report(), 7, 90.0, served=False).good
    waiting = city_line(report(state="traffic has no generation yet"), None, None, served=True)
    assert (waiting.state, waiting.good) == ("no snapshot yet; traffic has no generation yet", False)
    assert city_line(report(age_s=60.0), 7, 60.0, served=True).state == "snapshot 7, silent for 60 s"
    foreign = city_line(report(detail={"foreign_shards": 2}), 7, 1.0, served=True)
    assert (foreign.state, foreign.good) == ("snapshot 7, without 2 shards that do not match the log", False)
    ended = report()
    ended.alive = False
    assert "has ended" in city_line(ended, 7, 9.0, served=True).state


def test_the_city_audit_line_is_red_while_a_served_generation_differs() -> None:
    assert city_audit_line(CityFindings()).good
    assert city_audit_line(CityFindings()).state == "no city snapshots audited"
    good = city_audit_line(CityFindings(totals={"equal": 1_200}, number=1_300, behind=3))
    assert (good.state, good.good) == ("1,200 checked, 0 different, 3 to go", True)
    findings = CityFindings(totals={"equal": 5, "different": 2}, generations={"traffic": 2, "orders": 1}, different=2)
    bad = city_audit_line(findings)
    assert not bad.good
    assert bad.advice.startswith("the city of generation 1 of orders, generation 2 of traffic differs from the log")
    # A rebuild replaced what differed.
    assert city_audit_line(CityFindings(totals={"different": 2}, generations={"traffic": 3, "orders": 1})).good


def test_the_report_is_good_if_every_line_is() -> None:
    good = log_line(HEAD)
    models = ModelsStatus(ModelRole("baseline", "0" * 64))
    assert status_report("log-1", [good], models).good
    assert not status_report("log-1", [good, stage_line("speed", None, HEAD, LATE_S)], models).good
    assert log_line(IngestHead("log-1", 0, 0)).state == "empty"


def test_a_mismatch_of_the_served_generation_is_red_and_gives_advice() -> None:
    assert parity_line("speed", ReadTally(0, 0, 0, None)).state == "no served reads on record"
    good = parity_line("speed", ReadTally(1_200, 30, 0, 1))
    assert (good.state, good.good) == ("1,200 checked, 0 different, 30 unchecked", True)
    assert eta_parity_line(EtaTally(0, 0, 0)).state == "no served ETAs on record"
    assert eta_parity_line(EtaTally(900, 7, 0)).good
    assert eta_parity_line(EtaTally(900, 7, 1)).advice == "ETAs differ from the log: run verify-parity eta"
    bad = parity_line("speed", ReadTally(1_200, 30, 2, 4))
    assert not bad.good
    assert bad.advice == "generation 4 differs from the log: run verify-parity, then rebuild-projection speed"


def test_shards_of_another_log_are_red_and_give_advice() -> None:
    line = stage_line("speed", report(), HEAD, LATE_S, MeasuredStage(40, 1.0, foreign_shards=7))
    assert "7 shards do not match the log" in line.state
    assert "rebuild-projection speed" in line.advice
    stopped = stage_line("speed", report(), HEAD, LATE_S, MeasuredStage(40, 1.0, foreign_shards=7), served=False)
    assert "`serve` refolds them" in stopped.advice


def test_a_restore_stays_red_until_it_is_accepted() -> None:
    assert log_line(HEAD).good
    found = [RestoreFinding("speed@1", "words", 140, 90), RestoreFinding("locations@1", "words", 130, 95)]
    line = log_line(HEAD, found)
    assert "ended at 90, but position 140 was known" in line.state
    assert "docs/backup.md" in line.advice
