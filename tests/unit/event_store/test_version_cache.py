"""The versions that a writer knows: the highest of each aggregate, as of the last event that it has seen."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.event_store.version_cache import LastSeenEvent, VersionCache

ANNA, BEN, CARL = UUID(int=1), UUID(int=2), UUID(int=3)


def test_versions_that_were_merged_are_known() -> None:
    cache = VersionCache()
    cache.merge({ANNA: 3, BEN: -1})
    assert cache.known([ANNA, BEN, CARL]) == {ANNA: 3, BEN: -1}
    assert cache.unknown([CARL, ANNA, BEN]) == [CARL]


@given(st.lists(st.tuples(st.sampled_from([ANNA, BEN]), st.integers(-1, 9)), max_size=9))
def test_the_highest_version_holds_in_whatever_order_versions_are_merged(versions: list[tuple[UUID, int]]) -> None:
    cache = VersionCache()
    for aggregate, version in versions:
        cache.merge({aggregate: version})
    highest = {a: max(v for one, v in versions if one == a) for a in {a for a, _ in versions}}
    assert cache.known([ANNA, BEN]) == highest


def test_the_last_event_that_was_seen_moves_up_only() -> None:
    cache = VersionCache()
    assert cache.seen is None
    first, later = LastSeenEvent(5, ANNA, 50), LastSeenEvent(6, BEN, 60)
    cache.merge({}, later)
    cache.merge({}, first)
    cache.merge({}, LastSeenEvent(6, CARL, 70))
    cache.merge({ANNA: 1})
    assert cache.seen == later


def test_a_cache_that_is_cleared_continues_from_the_event_that_it_is_given() -> None:
    cache = VersionCache()
    cache.merge({ANNA: 3}, LastSeenEvent(9, ANNA, 90))
    restored = LastSeenEvent(2, BEN, 20)
    cache.forget(restored)
    assert cache.seen == restored
    assert cache.known([ANNA]) == {}
    assert cache.unknown([ANNA]) == [ANNA]


def test_the_aggregates_that_were_merged_longest_ago_are_dropped_first() -> None:
    cache = VersionCache(maxsize=2)
    cache.merge({ANNA: 1, BEN: 1})
    cache.merge({ANNA: 2})
    cache.merge({CARL: 1})
    assert cache.known([ANNA, BEN, CARL]) == {ANNA: 2, CARL: 1}
