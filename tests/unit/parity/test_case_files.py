"""How stored case files may differ from those of the log."""

from __future__ import annotations

from projections.parity.case_files import CaseVerdict, compare_cases


def test_equal_files_differ_in_nothing() -> None:
    assert compare_cases({"a": b"1", "b": b"2"}, {"b": b"2", "a": b"1"}) == []
    assert compare_cases({}, {}) == []


def test_each_way_to_differ_is_named_by_alert() -> None:
    stored = {"d": b"1", "c": b"2", "a": b"3"}
    replayed = {"d": b"1", "c": b"other", "b": b"4"}
    assert compare_cases(stored, replayed) == [
        ("a", CaseVerdict.NOT_IN_THE_LOG),
        ("b", CaseVerdict.MISSING),
        ("c", CaseVerdict.DIFFERENT),
    ]
