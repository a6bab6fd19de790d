"""Two generations of a shard compared at one fence: what is equal, what is shown, and what a person accepts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from projections.core.ports import Fence, ParkedEvent, ShardDump
from projections.core.projection import Projection
from projections.rebuild.comparison import MAX_EXAMPLES, GenerationComparison, digest
from projections.speed import SPEED


class Counted(NamedTuple):
    pings: int
    place: str


def decode(data: bytes) -> Any:
    """A list is a Counted; anything else is a value of its own."""
    value = json.loads(data)
    return Counted(*value) if isinstance(value, list) else value


COUNTED: Projection[Any] = replace(SPEED, decode=decode)
MARK = ParkedEvent(3, 16, 2, "GpsPing", "fold", "ZeroDivisionError: a fault", 1_790_000_000_000)


def fence(seq: int, incarnation: str = "one") -> Fence:
    return Fence("a log", incarnation, seq, 10 * seq, "an event")


def shard(seq: int | None = 7, **content: Any) -> ShardDump:
    whole: dict[str, Any] = {"states": {}, "rows": {}, "parked": {}, **content}
    return ShardDump(None if seq is None else fence(seq), **whole)


def compared(*pairs: tuple[ShardDump, ShardDump]) -> GenerationComparison:
    found = GenerationComparison("speed", 1, 2, 3, 4)
    for number, (live, new) in enumerate(pairs):
        found.add_shard(COUNTED, number, live, new)
    return found


def words(live: ShardDump, new: ShardDump) -> list[tuple[int, str, str]]:
    return [(one.shard, one.name, one.words) for one in compared((live, new)).examples]


FULL: dict[str, Any] = {
    "states": {"anna": b'[1, "x"]', "ben": b'[2, "y"]'},
    "rows": {"r": b"1"},
    "parked": {"eve": MARK},
}


def test_equal_shards_are_counted_and_nothing_else() -> None:
    found = compared((shard(7, **FULL), shard(7, **FULL)), (shard(None), shard(None)))
    assert found.clean
    assert (found.fences, found.keys, found.rows, found.parked, found.differing) == ({0: 7, 1: 0}, 2, 1, 1, 0)
    assert (found.examples, found.digest) == ([], "")
    assert all(live == new for live, new in found.digests.values())


def test_counts_are_of_the_new_generation_over_all_shards() -> None:
    found = compared((shard(), shard(**FULL)), (shard(), shard(**FULL)))
    assert (found.keys, found.rows, found.parked) == (4, 2, 2)
    assert found.differing == 8
    assert not found.clean


def test_a_shard_that_was_never_written_is_at_seq_0() -> None:
    assert compared((shard(None), shard(0))).clean
    assert words(shard(None), shard(2)) == [(0, "fence", "live is at 0, new at 2")]
    assert words(shard(2), shard(None)) == [(0, "fence", "live is at 2, new at 0")]


def test_incarnation_and_time_and_reason_of_parking_make_no_difference() -> None:
    later = MARK._replace(parked_at_ms=1, reason="the same fault, in other words")
    live = ShardDump(fence(7, "one"), {}, {}, {"eve": MARK})
    assert compared((live, ShardDump(fence(7, "another"), {}, {}, {"eve": later}))).clean


@pytest.mark.parametrize(
    "change", [{"seq": 4}, {"position": 17}, {"version": 3}, {"event_type": "ShiftStarted"}, {"kind": "decode"}]
)
def test_another_parked_event_is_a_difference(change: dict[str, Any]) -> None:
    assert compared((shard(parked={"eve": MARK}), shard(parked={"eve": MARK._replace(**change)}))).differing == 1


def test_fields_that_differ_are_named_with_both_values() -> None:
    live, new = shard(states={"anna": b'[1, "x"]'}), shard(states={"anna": b'[2, "x"]'})
    assert words(live, new) == [(0, "anna", "pings: live 1, new 2")]
    both = shard(states={"anna": b'[2, "y"]'})
    assert words(live, both) == [(0, "anna", "pings: live 1, new 2; place: live x, new y")]


def test_states_that_have_no_common_fields_are_shown_whole() -> None:
    assert words(shard(states={"a": b"1"}), shard(states={"a": b"2"})) == [(0, "a", "live 1, new 2")]
    mixed = words(shard(states={"a": b"1"}), shard(states={"a": b'[2, "y"]'}))
    assert mixed == [(0, "a", "live 1, new Counted(pings=2, place='y')")]


def test_other_bytes_of_the_same_value_are_reported_as_a_difference() -> None:
    assert words(shard(states={"a": b'[1, "x"]'}), shard(states={"a": b'[1,"x"]'})) == [
        (0, "a", "the bytes differ, the values do not (8 and 7 bytes)")
    ]


def test_bytes_that_this_code_cannot_read_are_still_compared() -> None:
    [(_, name, said)] = words(shard(states={"a": b'[1, "x"]'}), shard(states={"a": b"["}))
    assert name == "a"
    assert said.startswith("live has 8 bytes, new 1; not both are readable here (")


def test_a_key_of_one_side_is_reported_with_that_side() -> None:
    live = shard(states={"anna": b"1"}, rows={"r": b"1"}, parked={"eve": MARK})
    assert words(live, shard()) == [
        (0, "anna", "only in the live one"),
        (0, "row r", "only in the live one"),
        (0, "parked eve", "only in the live one: at version 2, position 16, ZeroDivisionError: a fault"),
    ]
    assert words(shard(), live) == [
        (0, "anna", "only in the new one"),
        (0, "row r", "only in the new one"),
        (0, "parked eve", "only in the new one: at version 2, position 16, ZeroDivisionError: a fault"),
    ]


def test_rows_and_parked_events_that_differ_are_shown_with_both_sides() -> None:
    live = shard(rows={"r": b"1"}, parked={"eve": MARK})
    new = shard(rows={"r": b"2"}, parked={"eve": MARK._replace(version=5, kind="refused")})
    assert words(live, new) == [
        (0, "row r", "live 1, new 2"),
        (0, "parked eve", "live at version 2 (fold), new at version 5 (refused)"),
    ]


@pytest.mark.parametrize(("length", "shown"), [(120, "x" * 120), (121, "x" * 117 + "…")])
def test_long_values_are_cut(length: int, shown: str) -> None:
    assert words(shard(rows={"r": b"x" * length}), shard(rows={"r": b"y"})) == [(0, "row r", f"live {shown}, new y")]


def test_all_differences_are_counted_and_the_first_are_shown_by_name() -> None:
    live = shard(states={f"{n:02}": b"1" for n in reversed(range(MAX_EXAMPLES + 5))})
    found = compared((live, shard()))
    assert found.differing == MAX_EXAMPLES + 5
    assert [example.name for example in found.examples] == [f"{n:02}" for n in range(MAX_EXAMPLES)]


def test_the_digest_covers_every_difference() -> None:
    def found(*pairs: tuple[ShardDump, ShardDump]) -> str:
        return compared(*pairs).digest

    one, other = shard(states={"anna": b"1"}), shard(states={"anna": b"2"})
    digests = [
        found((one, other)),
        found((other, one)),
        found((one, shard())),
        found((shard(), one)),
        found((shard(), shard()), (one, other)),
        found((one, other), (one, other)),
        found((shard(states={"ann": b"1"}), shard(states={"ann": b"2"}))),
        found((shard(rows={"anna": b"1"}), shard(rows={"anna": b"2"}))),
        found((shard(states={f"{n:02}": b"1" for n in range(MAX_EXAMPLES + 1)}), shard())),
        found((shard(states={f"{n:02}": b"1" for n in range(MAX_EXAMPLES)} | {"20": b"2"}), shard())),
    ]
    assert len(set(digests)) == len(digests)
    assert found((one, other)) == digests[0]


def test_a_digest_that_a_person_was_shown_is_known_by_later_releases() -> None:
    """It is passed to ``rebuild-projection --accept DIGEST``, and stored in the generation's record."""
    found = compared((shard(7, **FULL), shard(8, states={"anna": b'[1, "x"]'}, parked={"eve": MARK})))
    assert found.digest == "564fc20d5d814771"
    assert found.digests == {0: ("47bb15ddb95d5f92", "ae79b6ea19d8c9e0")}


def test_the_digest_of_a_shard_distinguishes_names_values_and_kinds() -> None:
    contents: list[dict[str, Any]] = [
        {},
        {"states": {"a": b"bc"}},
        {"states": {"ab": b"c"}},
        {"rows": {"a": b"bc"}},
        {"states": {"a": b"b", "c": b""}},
        {"states": {"a": b""}, "rows": {"c": b""}},
        {"parked": {"a": MARK}},
        {"parked": {"b": MARK}},
    ]
    digests = [digest(shard(**content)) for content in contents]
    assert len(set(digests)) == len(digests)
    assert digest(shard(states={"a": b"1", "b": b"2"})) == digest(shard(states={"b": b"2", "a": b"1"}))
    assert {len(one) for one in digests} == {16}


def test_a_comparison_is_stored_as_json_with_all_findings() -> None:
    found = compared((shard(7, **FULL), shard(7, **FULL | {"rows": {"r": b"2"}})))
    kept = json.loads(json.dumps(found.document()))
    assert kept == {
        "projection": "speed",
        "live": 1,
        "new": 2,
        "live_version": 3,
        "new_version": 4,
        "fences": {"0": 7},
        "keys": 2,
        "rows": 1,
        "parked": 1,
        "differing": 1,
        "digests": {"0": list(found.digests[0])},
        "examples": [{"shard": 0, "name": "row r", "words": "live 1, new 2"}],
        "digest": found.digest,
    }
