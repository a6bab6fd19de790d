"""The watermark: an LSN is confirmed only when everything before it is acknowledged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cdc.in_flight import Watermark


@given(st.permutations(range(1, 9)))
def test_invariant_2_the_watermark_never_passes_an_unacknowledged_transaction(order: list[int]) -> None:
    watermark = Watermark()
    for batch_id in range(1, 9):
        watermark.committed(batch_id, batch_id * 100)
    done: set[int] = set()
    for batch_id in order:
        watermark.acknowledged(batch_id)
        done.add(batch_id)
        safe = next((t - 1 for t in range(1, 9) if t not in done), 8)
        assert watermark.confirmed == safe * 100


def test_the_watermark_of_an_idle_slot_advances() -> None:
    watermark = Watermark()
    watermark.confirm_idle_wal(500)
    assert watermark.confirmed == 500
    watermark.committed(1, 600)
    watermark.confirm_idle_wal(700)
    assert watermark.confirmed == 500
    watermark.acknowledged(1)
    watermark.confirm_idle_wal(700)
    assert watermark.confirmed == 700


def test_an_acknowledgement_may_come_before_the_commit_is_read() -> None:
    watermark = Watermark()
    watermark.acknowledged(1)
    watermark.committed(1, 100)
    assert watermark.confirmed == 100


@given(st.permutations(range(1, 7)), st.integers(0, 3))
def test_the_position_is_that_of_the_last_passed_transaction(order: list[int], begun: int) -> None:
    watermark = Watermark(begun)
    for batch_id in range(1, 7):
        # Every third transaction has no event of this log.
        watermark.committed(batch_id, 0, None if batch_id % 3 == 0 else begun + batch_id)
    assert watermark.unacknowledged_transactions() == 6
    done: set[int] = set()
    for batch_id in order:
        watermark.acknowledged(batch_id)
        done.add(batch_id)
        passed = next((t - 1 for t in range(1, 7) if t not in done), 6)
        assert (watermark.last_passed_batch, watermark.unacknowledged_transactions()) == (passed, 6 - passed)
        assert watermark.position == begun + max((t for t in range(1, passed + 1) if t % 3), default=0)


def test_an_unknown_position_is_set_by_the_first_passed_transaction_that_has_one() -> None:
    watermark = Watermark()
    watermark.committed(1, 100)
    watermark.acknowledged(1)
    positions = [watermark.position]
    watermark.committed(2, 200, 5)
    watermark.acknowledged(2)
    assert [*positions, watermark.position] == [None, 5]
    assert watermark.last_passed_batch == 2


def test_neither_the_position_nor_the_confirmed_lsn_steps_back() -> None:
    watermark = Watermark(9)
    watermark.confirm_idle_wal(500)
    watermark.confirm_idle_wal(400)
    watermark.committed(1, 300, 4)
    watermark.acknowledged(1)
    assert (watermark.confirmed, watermark.position) == (500, 9)
