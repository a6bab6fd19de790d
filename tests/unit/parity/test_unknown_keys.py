"""Answers that a key is unknown are checked too: the key may have been lost from the store (invariant 8)."""

from __future__ import annotations

from projections.digest.digest import fold_digest, view_digest
from projections.parity.audit import describe_difference
from projections.parity.key_walk import WalkBudget
from projections.parity.served_reads import LoggedRead, ServedRead
from projections.speed import SPEED
from tests.support.ports_in_memory.parity_ports import (
    LIMITS,
    MemoryServedReads,
)
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.served_history import Live, check, filled, ride, verdicts
from tests.support.worlds.speed_events import ping_data


def missing(number: int, key: str, position: int) -> LoggedRead:
    """The answer 404 of a shard that had folded all events up to ``position``."""
    read = ServedRead(key, 1, 0, position, START_MS, LIMITS, False, b"")
    return LoggedRead(number, fold_digest(SPEED), view_digest(SPEED), None, read)


def test_regression_an_answer_that_a_known_rider_is_unknown_is_different() -> None:
    archive = ride(12)
    live = Live(archive)
    reads = [missing(100, "anna", 7), *live.reads, missing(101, "anna", 12)]
    found = {one.logged.id: one for one in check(archive, live, reads)}
    assert {number for number, one in found.items() if one.verdict == "different"} == {100, 101}
    assert verdicts([one for number, one in found.items() if number < 100]) == {"equal"}
    assert describe_difference(found[100]).startswith(
        "anna: answered as unknown, although the log had version 7 of it by then"
    )


def test_an_answer_that_a_rider_is_unknown_is_correct_if_nothing_of_it_is_folded() -> None:
    archive = filled([("anna", "GpsPing", {}), ("anna", "GpsPing", ping_data("anna", START_MS, 1))])
    live = Live(archive)
    # The first event cannot be folded: the key is parked, and it has no state to serve.
    assert [one.verdict for one in check(archive, live, [missing(1, "anna", 2)])] == ["equal"]
    archive.discards = {1}
    assert [one.verdict for one in check(archive, live, [missing(1, "anna", 1)])] == ["equal"]
    assert [one.verdict for one in check(archive, live, [missing(1, "anna", 2)])] == ["different"]


def test_a_rider_that_a_restored_log_has_lost_is_reported_as_log_restored() -> None:
    archive = ride(3)
    assert [one.verdict for one in check(archive, Live(archive), [missing(1, "ben", 3)])] == ["log restored"]
    other = missing(1, "anna", 3)._replace(fold_digest="another")
    assert [one.verdict for one in check(archive, Live(archive), [other])] == ["other code"]


def test_a_lost_long_key_is_audited_in_rounds_too() -> None:
    archive = ride(100)
    live = Live(archive)
    stored = MemoryServedReads([missing(1, "anna", 98)])
    rounds = 0
    while unchecked := stored.unchecked(10):
        done = check(archive, live, unchecked, WalkBudget(50, per_key=30))
        stored.record({one.verdict: [one.logged.id] for one in done})
        rounds += 1
    assert rounds == 4
    assert stored.reads[1].verdict == "different"
