"""A producer that has come to a stand is told from one that works, and from one that nobody looked at."""

from __future__ import annotations

from infrastructure.cdc.in_flight import STALLED_AFTER_S, DeliveryStallDetector


def test_a_producer_whose_records_stay_in_flight_is_stalled() -> None:
    detector = DeliveryStallDetector()
    seconds = [detector.observe(5_053, now / 10) for now in range(400)]
    assert seconds[0] == 0.0
    assert seconds[-1] > STALLED_AFTER_S


def test_one_that_is_slow_or_has_nothing_to_do_is_not() -> None:
    slow, idle = DeliveryStallDetector(), DeliveryStallDetector()
    assert max(slow.observe(100_000 - now // 20, float(now)) for now in range(1_000)) < STALLED_AFTER_S
    assert {idle.observe(0, float(now)) for now in range(100)} == {0.0}


def test_the_time_of_a_tailer_that_was_stopped_is_not_held_against_its_producer() -> None:
    detector = DeliveryStallDetector()
    detector.observe(10, 0.0)
    assert detector.observe(10, 600.0) <= 1.0
