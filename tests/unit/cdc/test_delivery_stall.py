"""Distinguishes a stalled producer from a slow one, and from one that was not observed for a while."""

from __future__ import annotations

from infrastructure.cdc.in_flight import STALLED_AFTER_S, DeliveryStallDetector


def test_a_producer_whose_records_stay_in_flight_is_stalled() -> None:
    detector = DeliveryStallDetector()
    seconds = [detector.observe(5_053, now / 10) for now in range(400)]
    assert seconds[0] == 0.0
    assert seconds[-1] > STALLED_AFTER_S


def test_a_slow_or_idle_producer_is_not_stalled() -> None:
    slow, idle = DeliveryStallDetector(), DeliveryStallDetector()
    assert max(slow.observe(100_000 - now // 20, float(now)) for now in range(1_000)) < STALLED_AFTER_S
    assert {idle.observe(0, float(now)) for now in range(100)} == {0.0}


def test_a_pause_of_the_tailer_does_not_count_as_a_stall_of_the_producer() -> None:
    detector = DeliveryStallDetector()
    detector.observe(10, 0.0)
    assert detector.observe(10, 600.0) <= 1.0
