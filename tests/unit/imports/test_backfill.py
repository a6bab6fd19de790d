"""The parts of a backfill without a server: the sort, the runs on disk, and the validation of rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import GpsWeekRollover, InvalidType, NullIsland, PingRejected, TimestampInFuture
from domain.event_times import FUTURE_TOLERANCE_MS
from infrastructure.errors import UserError
from infrastructure.imports.backfill import sort_rows, validate_row
from infrastructure.imports.csv_reader import CsvSource, ImportRow, find_columns, open_source, to_row
from infrastructure.imports.external_sort import BLOCK_ENTRIES, ExternalSorter, SortEntry, read_run, write_run
from infrastructure.imports.report import ImportReport
from tests.unit.domain.given import NOW_MS, a_ping

HEADER = ("rider_id", "latitude", "longitude", "event_timestamp_ms", "seen")
NAMES = {"recorded-at": "seen"}
SOURCE = CsvSource(Path("some.csv"), HEADER, find_columns(HEADER, NAMES, "some.csv"))
PING = a_ping(accuracy_meters=2.5, source_service="söurce")


def entry(received_ms: int, file: int, line: int) -> SortEntry:
    return SortEntry(received_ms, file, line, PING, (b"anna", b"caf\xe9", b""))


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 2)), max_size=120), st.integers(1, 9), st.integers(2, 4))
def test_rows_sort_by_reception_then_file_then_line_in_any_memory(
    given_rows: list[tuple[int, int]], run_entries: int, fan_in: int
) -> None:
    entries = [entry(received, file, line) for line, (received, file) in enumerate(given_rows)]
    with tempfile.TemporaryDirectory() as directory:
        sorter = ExternalSorter(Path(directory), SortEntry, run_entries=run_entries, fan_in=fan_in)
        for each in entries:
            sorter.add(each)
        kept = len(list(Path(directory).iterdir()))
        assert list(sorter.in_order()) == sorted(entries, key=lambda each: each[:3])
    assert sorter.count == len(entries)
    # Each level is merged as soon as it is full, which bounds the number of files open at the end.
    levels = 1
    while fan_in**levels <= len(entries):
        levels += 1
    assert kept <= levels * (fan_in - 1)


def test_a_run_returns_what_was_written(tmp_path: Path) -> None:
    entries = [entry(number, 0, number) for number in range(2 * BLOCK_ENTRIES + 1)]
    write_run(tmp_path / "run", entries)
    assert list(read_run(tmp_path / "run", SortEntry)) == entries


def row(**cells: str) -> ImportRow:
    usual = {"rider_id": "anna", "latitude": "52.5", "longitude": "13.4", "event_timestamp_ms": str(NOW_MS)}
    usual["seen"] = str(NOW_MS + 5)
    return to_row(SOURCE, 2, [(usual | cells)[name] for name in HEADER])


def test_a_row_has_the_reception_time_of_its_column() -> None:
    ping = validate_row(row(seen="2026-09-21T16:13:20.123+02:00"), 3, NOW_MS + 1000).ping
    assert (ping.rider_id, ping.event_timestamp_ms, ping.received_timestamp_ms) == ("anna", NOW_MS, NOW_MS + 123)


@pytest.mark.parametrize("ahead_ms", [0, 1, FUTURE_TOLERANCE_MS])
def test_a_phone_may_be_ahead_of_its_reception(ahead_ms: int) -> None:
    assert validate_row(row(seen=str(NOW_MS - ahead_ms)), 0, NOW_MS).received_ms == NOW_MS - ahead_ms


def test_a_gps_week_rollover_is_measured_from_the_reception_of_the_row() -> None:
    era_ms = 1024 * 7 * 86_400_000
    with pytest.raises(GpsWeekRollover):
        validate_row(row(event_timestamp_ms=str(NOW_MS - era_ms)), 0, NOW_MS + 1000)
    # With a reception at that time it is history and not a roll-over, whatever the clock says now.
    then = str(NOW_MS - era_ms)
    assert validate_row(row(event_timestamp_ms=then, seen=then), 0, NOW_MS).received_ms == NOW_MS - era_ms


@pytest.mark.parametrize(
    ("cells", "rejection", "message"),
    [
        ({"seen": ""}, InvalidType, "reception is missing"),
        ({"seen": "soon"}, InvalidType, "reception is neither epoch milliseconds nor RFC 3339 with zone: 'soon'"),
        ({"seen": "2026-09-21T16:13:20"}, InvalidType, "reception is neither"),
        ({"latitude": "x"}, InvalidType, "latitude is not a number"),
        ({"latitude": "0", "longitude": "0"}, NullIsland, "without a fix"),
        ({"latitude": "nan"}, PingRejected, "latitude must be within"),
        ({"seen": str(NOW_MS + 1001)}, TimestampInFuture, "reception time is later than the clock"),
        ({"seen": str(NOW_MS - FUTURE_TOLERANCE_MS - 1)}, TimestampInFuture, "5 minutes after reception"),
    ],
)
def test_a_row_that_cannot_be_history_is_rejected_with_its_reason(
    cells: dict[str, str], rejection: type[PingRejected], message: str
) -> None:
    with pytest.raises(rejection, match=message):
        validate_row(row(**cells), 0, NOW_MS + 1000)


def test_without_the_option_no_column_is_a_reception_time() -> None:
    plain = CsvSource(SOURCE.path, HEADER, find_columns(HEADER, {}, "some.csv"))
    assert to_row(plain, 2, ["anna", "52.5", "13.4", str(NOW_MS), "whatever"]).received_ms is None
    with pytest.raises(UserError, match=r"no column received; .*name the right one with --recorded-at$"):
        find_columns(HEADER, {"recorded-at": "received"}, "some.csv")


def test_seconds_are_hinted_at(tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    path.write_text(f"{','.join(HEADER)}\nanna,52.5,13.4,{NOW_MS},{NOW_MS // 1000}\n")
    sources = [open_source(path, NAMES)]
    report = ImportReport(sources)
    assert sort_rows(sources, ExternalSorter(tmp_path, SortEntry), report, NOW_MS, lambda done, count: None) == 1
    assert dict(report.tally.rejected) == {"timestamp_in_future": 1}
    assert report.examples.hint == "reception in seconds? milliseconds are expected"
