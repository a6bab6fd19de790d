"""docs/proofs.md shows what the tables in proofs/ record."""

from __future__ import annotations

import pytest

from tests.support.reports.proof_summary import PAGE, current, rendered, runs_of

TABLE = """# Proofs of 2026-01-02

Commit `0123456789abcdef0123456789abcdef01234567`, Python 3.11.7, by `make prove`.

| proof | outcome | seconds | says |
|---|---|---|---|
| `tests/faults/test_kill.py::test_nothing_is_lost[api-0]` | passed | 40.0 | pings: 5 |
| `tests/faults/test_kill.py::test_nothing_is_lost[api-1]` | failed | 20.0 |  |
| `tests/faults/test_soak.py::test_nothing_grows` (commit `c3ff948`) | passed | 120.0 | pings: 7 |
"""


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == current(), "run: python -m tests.support.reports.proof_summary"


def test_runs_of_one_test_are_counted_together_and_failures_show() -> None:
    kill, soak = runs_of(TABLE)
    assert (kill.commit, kill.passed, kill.failed, kill.seconds, kill.says) == ("0123456789ab", 1, 1, 60.0, "")
    assert (soak.commit, soak.passed, soak.failed, soak.says) == ("c3ff948", 1, 0, "pings: 7")
    assert "| 1 passed, **1 failed** | 1 |" in rendered([("2026-01-02.md", TABLE)])


def test_a_table_without_a_commit_is_refused() -> None:
    with pytest.raises(ValueError, match="names no commit"):
        runs_of("# Proofs of 2026-01-02\n")
