"""The watermark: an LSN is confirmed only when all before it is safe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cdc.watermark import Watermark


@given(st.permutations(range(1, 9)))
def test_invariant_2_the_watermark_never_passes_an_unacknowledged_transaction(order: list[int]) -> None:
    watermark = Watermark()
    for token in range(1, 9):
        watermark.committed(token, token * 100)
    done: set[int] = set()
    for token in order:
        watermark.acknowledged(token)
        done.add(token)
        safe = next((t - 1 for t in range(1, 9) if t not in done), 8)
        assert watermark.confirmed == safe * 100


def test_the_watermark_of_an_idle_slot_advances() -> None:
    watermark = Watermark()
    watermark.idle(500)
    assert watermark.confirmed == 500
    watermark.committed(1, 600)
    watermark.idle(700)
    assert watermark.confirmed == 500
    watermark.acknowledged(1)
    watermark.idle(700)
    assert watermark.confirmed == 700


def test_an_acknowledgement_may_come_before_the_commit_is_read() -> None:
    watermark = Watermark()
    watermark.acknowledged(1)
    watermark.committed(1, 100)
    assert watermark.confirmed == 100
