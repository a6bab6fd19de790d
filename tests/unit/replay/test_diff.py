"""Differences of two replays: pairs by key, columns, spreads."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from projections.replay.diff import ReplayDifference, pair_by_key
from read_models.speed.view import COLUMNS

values = st.one_of(st.none(), st.integers(0, 50).map(float))
sides = st.dictionaries(st.tuples(st.integers(0, 3), st.sampled_from("abcdef")), values, max_size=12)


def row(key: str, speed: float | None, version: int = 1, age_ms: int = 0) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(COLUMNS)
    return blank | {"rider_id": key, "speed_mps": speed, "version": version, "age_ms": age_ms}


@given(left=sides, right=sides)
def test_every_key_of_either_side_comes_once_with_both_of_its_rows(left: Any, right: Any) -> None:
    def rows(side: Any) -> list[tuple[tuple[int, str], dict[str, Any]]]:
        return [(place, row(str(place), side[place])) for place in sorted(side)]

    found = list(pair_by_key(iter(rows(left)), iter(rows(right))))
    assert len(found) == len(left.keys() | right.keys())
    assert [a["speed_mps"] for _, a, _ in found if a is not None] == [left[p] for p in sorted(left)]
    assert [b["speed_mps"] for _, _, b in found if b is not None] == [right[p] for p in sorted(right)]
    assert all(a is None or b is None or a["rider_id"] == b["rider_id"] for _, a, b in found)


def test_another_version_or_age_is_not_a_difference() -> None:
    found = ReplayDifference()
    found.add("anna", row("anna", 4.0), row("anna", 4.0, version=9, age_ms=100), COLUMNS)
    assert found.same
    assert found.compared == 1


def test_the_spread_covers_the_keys_that_differ() -> None:
    found = ReplayDifference()
    for number in range(100):
        found.add(str(number), row(str(number), 0.0), row(str(number), float(number)), COLUMNS)
    spread = found.spreads()["speed_mps"]
    assert (spread.keys, spread.p50, spread.p90, spread.largest) == (99, 50.0, 90.0, 99.0)
    assert found.differing == 99
    assert len(found.examples) == 20


def test_unknown_on_one_side_is_a_difference_without_a_distance() -> None:
    found = ReplayDifference()
    found.add("anna", row("anna", None), row("anna", 3.0), COLUMNS)
    found.add("bo", row("bo", 1.0), None, COLUMNS)
    found.add("cy", None, row("cy", 1.0), COLUMNS)
    assert (found.differing, found.only_left, found.only_right) == (1, 1, 1)
    assert found.null_on_one_side == {"speed_mps": 1}
    assert found.spreads() == {}
