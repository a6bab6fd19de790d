"""Invariant 4: which records of one shard may be applied, and which have to wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.core.fences import SplitBatch, digest_of, split_at_gap
from projections.core.ports import LoggedEvent

EVENT = LoggedEvent(9, 3, 4, "anna", 2, "GpsPing", b"bytes")


def at(seq: int, payload: bytes = b"bytes") -> LoggedEvent:
    return EVENT._replace(seq=seq, position=2 * seq, payload=payload)


def seqs(found: SplitBatch) -> tuple[list[int], int, int | None, list[int]]:
    gap = None if found.gap is None else found.gap.seq
    return [one.seq for one in found.ready], found.duplicates, gap, [one.seq for one in found.rest]


@pytest.mark.parametrize(
    ("applied", "came", "ready", "duplicates", "gap", "rest"),
    [
        (0, [], [], 0, None, []),
        (0, [1, 2, 3], [1, 2, 3], 0, None, []),
        (4, [5], [5], 0, None, []),
        (4, [4], [], 1, None, []),
        (4, [3, 4, 5, 5, 6], [5, 6], 3, None, []),
        (4, [6], [], 0, 6, []),
        (4, [6, 5], [], 0, 6, [5]),
        (4, [5, 7, 8, 6], [5], 0, 7, [8, 6]),
        (4, [4, 5, 5, 9, 9], [5], 2, 9, [9]),
    ],
)
def test_records_are_ready_up_to_the_first_gap(
    applied: int, came: list[int], ready: list[int], duplicates: int, gap: int | None, rest: list[int]
) -> None:
    found = split_at_gap(applied, [at(seq) for seq in came])
    assert seqs(found) == (ready, duplicates, gap, rest)
    assert not found.conflicts


@given(st.integers(0, 5), st.lists(st.integers(1, 12), max_size=12))
def test_every_record_is_ready_a_duplicate_the_gap_or_behind_it(applied: int, came: list[int]) -> None:
    found = split_at_gap(applied, [at(seq) for seq in came])
    ready, duplicates, gap, rest = seqs(found)
    assert ready == list(range(applied + 1, applied + 1 + len(ready)))
    assert len(ready) + duplicates + (gap is not None) + len(rest) == len(came)
    if gap is None:
        assert not rest
    else:
        assert gap > applied + len(ready) + 1
        assert rest == came[len(came) - len(rest) :]


@pytest.mark.parametrize("seq", [5, 6, 7])
def test_another_event_with_the_seq_of_a_ready_one_is_a_conflict(seq: int) -> None:
    ready = [at(5), at(6), at(7)]
    for gap in ([], [at(99)]):
        assert not split_at_gap(4, [*ready, at(seq), *gap]).conflicts
        assert split_at_gap(4, [*ready, at(seq, b"others"), *gap]).conflicts
        assert split_at_gap(4, [*ready, at(seq, b"others"), at(seq), *gap]).conflicts


def test_a_duplicate_of_an_event_applied_earlier_is_not_compared() -> None:
    """Only the event store knows which event had that seq."""
    assert not split_at_gap(4, [at(5), at(4, b"others"), at(1, b"others")]).conflicts


@pytest.mark.parametrize(
    "change",
    [
        {"position": 10},
        {"shard": 4},
        {"seq": 5},
        {"version": 3},
        {"key": "ben"},
        {"event_type": "ShiftStarted"},
        {"payload": b"others"},
    ],
)
def test_any_part_of_an_event_makes_its_digest_another(change: dict[str, Any]) -> None:
    assert digest_of(EVENT._replace(**change)) != digest_of(EVENT)


def test_the_digest_in_stored_fences_is_known_by_later_releases() -> None:
    """Another digest would look like a restored log, and every shard would be refolded."""
    assert digest_of(EVENT) == "91a5a430ca17bbfb"
