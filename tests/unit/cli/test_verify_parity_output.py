"""The report of verify-parity, and the times that it accepts."""

from __future__ import annotations

import pytest

from infrastructure.cli.verify_parity import advice, document, lines
from infrastructure.timestamps import time_or_ago_ms
from projections.parity.audit import MAX_EXAMPLES, AuditFindings

NOW_MS = 1_790_000_000_000


def found(**totals: int) -> AuditFindings:
    one = AuditFindings()
    one.totals |= {name.replace("_", " "): count for name, count in totals.items()}  # type: ignore[misc]
    one.generations = {2} if totals.get("different") else set()
    return one


def test_nothing_to_check_says_so_and_is_no_error() -> None:
    assert "nothing to check" in lines("speed", AuditFindings(), 0.1)[0]
    assert advice("speed", AuditFindings(), None, 0) == ""


def test_totals_by_verdict_with_the_rate() -> None:
    [line] = lines("speed", found(equal=1_500, log_restored=2), 0.5)
    assert line.startswith("1,502 served reads of speed: 1,500 equal, 2 log restored; ")
    assert line.endswith("3,004 reads a second")
    assert advice("speed", found(equal=1_500, log_restored=2), 1, 0) == ""


def test_advice_for_a_mismatch_of_the_served_generation_and_of_an_old_one() -> None:
    wrong = found(equal=1, different=1)
    assert "run `rebuild-projection speed`" in advice("speed", wrong, 2, 1)
    assert "generation 2, which is no longer served" in advice("speed", wrong, 3, 0)
    # The auditor found it and it has been repaired since: the mismatch stays on record.
    assert advice("speed", found(equal=1), 2, 4).startswith("4 mismatches are on record; generation 2")


def test_parts_add_up_and_examples_are_bounded() -> None:
    whole = AuditFindings()
    for _ in range(4):
        part = found(different=5)
        part.wrong_snapshots, part.events = 1, 10
        for number in range(MAX_EXAMPLES):
            part.add_example(str(number))
        whole.add(part)
    assert (whole.reads, whole.mismatches, whole.events, len(whole.examples)) == (20, 24, 40, MAX_EXAMPLES)
    shown = document("speed", whole, 2.0, 2, 24)
    assert (shown["verdicts"]["log_restored"], shown["reads_per_second"]) == (0, 10)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1790000000123", 1_790_000_000_123),
        ("1h", NOW_MS - 3_600_000),
        ("90s", NOW_MS - 90_000),
        ("2026-09-21T13:46:40Z", 1_789_998_400_000),
        ("2026-09-21T15:46:40.5+02:00", 1_789_998_400_500),
    ],
)
def test_an_instant_is_epoch_ms_a_time_with_zone_or_a_duration_ago(text: str, ms: int) -> None:
    assert time_or_ago_ms(text, NOW_MS) == ms
