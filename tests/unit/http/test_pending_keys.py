"""Keys that wait for their read model: whatever lags, each is read in turn, and a folded one waits no longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.http.pending_keys import PendingKeys

KEYS = [f"key-{number}" for number in range(12)]


@given(count=st.integers(1, 12), at_once=st.integers(1, 12), again=st.lists(st.sampled_from(KEYS)))
def test_each_key_is_read_in_turn_although_no_read_model_follows(count: int, at_once: int, again: list[str]) -> None:
    """Given keys that are never folded and change on, when turns read some each, then each key is read."""
    pending = PendingKeys()
    for key in KEYS[:count]:
        pending.note({key: 1})
    read: set[str] = set()
    for turn in range(-(-count // at_once)):
        keys = pending.first(at_once)
        read |= set(keys)
        pending.settle(keys, dict.fromkeys(keys, 0))
        for key in again:
            if key in KEYS[:count]:
                pending.note({key: 2 + turn})
    assert read == set(KEYS[:count])
    assert len(pending) == count


@given(wanted=st.integers(1, 5), folded=st.integers(0, 6))
def test_a_key_waits_until_its_position_is_folded_and_no_longer(wanted: int, folded: int) -> None:
    pending = PendingKeys()
    pending.note({"anna": wanted})
    pending.settle(["anna"], {"anna": folded})
    assert pending.first(1) == ([] if folded >= wanted else ["anna"])


def test_a_key_without_a_row_waits_on() -> None:
    pending = PendingKeys()
    pending.note({"anna": 1})
    pending.settle(["anna", "ben"], {})
    assert (pending.first(2), pending.wanted("anna"), pending.wanted("ben")) == (["anna"], 1, 0)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), st.integers(1, 9), max_size=4), max_size=8), st.integers(1, 12))
def test_keys_that_are_noted_together_wait_as_if_one_by_one(batches: list[dict[str, int]], most: int) -> None:
    together, single = PendingKeys(most), PendingKeys(most)
    for batch in batches:
        together.note(batch)
        for key, position in batch.items():
            single.note({key: position})
        assert len(together) == len(single) <= most
        assert together.has_dropped == single.has_dropped
        if not single.has_dropped:
            assert together.first(most) == single.first(most)
            assert [together.wanted(key) for key in KEYS] == [single.wanted(key) for key in KEYS]


def test_above_the_bound_the_first_key_is_dropped_and_that_is_known() -> None:
    pending = PendingKeys(most=2)
    pending.note({"anna": 1})
    pending.note({"ben": 2})
    assert not pending.has_dropped
    pending.note({"cleo": 3})
    assert (pending.first(3), pending.has_dropped) == (["ben", "cleo"], True)
