"""The table of faults says what was run, and nothing else."""

from __future__ import annotations

from tests.support.faults.every import FAULTS
from tests.support.faults.table import PAGE, Run, merged, on_record, page_with, rendered, rows_of
from tests.support.faults.world import APACHE, EMBEDDED

NAME = FAULTS[0].name


def test_a_failed_instant_shows() -> None:
    runs = [Run(NAME, EMBEDDED, True, 100, 1, 2.0), Run(NAME, EMBEDDED, False, 0, 0, 90.0)]
    (row,) = rows_of(runs, "c", "d")
    assert (row.instants, row.passed, row.pings, row.sent_again, row.longest_s) == (2, 1, 100, 1, 90.0)
    assert "2: **1 failed**; at most 90 s" in rendered([row])
    assert "1 instants failed" in rendered([row])


def test_a_later_run_replaces_an_earlier_one_of_the_same_fault_and_broker() -> None:
    old = rows_of([Run(NAME, EMBEDDED, True, 1, 0, 1.0), Run(NAME, APACHE, True, 1, 0, 1.0)], "old", "d")
    new = rows_of([Run(NAME, EMBEDDED, False, 1, 0, 1.0)], "new", "d")
    assert {(row.broker, row.commit) for row in merged(old, new)} == {(EMBEDDED, "new"), (APACHE, "old")}


def test_what_was_never_run_says_so() -> None:
    lines = rendered([]).splitlines()
    assert len([line for line in lines if "not run" in line]) == len(FAULTS)


def test_the_page_shows_what_is_on_record() -> None:
    page = PAGE.read_text()
    assert page_with(page, rendered(on_record())) == page, "run: python -m tests.support.faults.table"
