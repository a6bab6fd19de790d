"""The pure rules of the Kafka adapters, with random delivery orders and more edge cases."""

from __future__ import annotations

import logging
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.kafka.confluent_producer import MAX_EPOCHS_WITHOUT_DELIVERY, ForgottenProducerDetector
from infrastructure.kafka.delivery_tracker import DeliveryTracker
from infrastructure.kafka.partition_assignment import Assignment
from infrastructure.observability.throttled_log import ThrottledLogger


def test_a_batch_finishes_when_sealed_and_delivered_whichever_comes_last() -> None:
    tracker = DeliveryTracker()
    for batch_id in (1, 2):
        tracker.batch(batch_id).sent(1)
    tracker.batch(1).delivered(None, None)
    assert not tracker.any_finished()
    tracker.batch(1).seal()
    assert tracker.take() == [1]
    tracker.batch(2).seal()
    assert not tracker.any_finished()
    tracker.batch(2).delivered(None, None)
    assert tracker.take() == [2]
    assert tracker.in_flight == 0


def test_the_first_failure_is_kept_and_its_batch_is_never_finished() -> None:
    tracker = DeliveryTracker()
    batch = tracker.batch(1)
    batch.sent(2)
    batch.seal()
    batch.delivered("too large", None)
    batch.delivered("the broker is unavailable", None)
    assert tracker.failure == "too large"
    assert tracker.in_flight == 2
    assert tracker.take() == []


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_every_batch_finishes_once_in_any_order_of_delivery(sizes: list[int], random: Random) -> None:
    tracker = DeliveryTracker()
    deliveries = [tracker.batch(batch_id).delivered for batch_id, size in enumerate(sizes) for _ in range(size)]
    for batch_id, size in enumerate(sizes):
        tracker.batch(batch_id).sent(size)
        tracker.batch(batch_id).seal()
    random.shuffle(deliveries)
    taken = tracker.take()
    for deliver in deliveries:
        deliver(None, None)
        taken += tracker.take()
    assert sorted(taken) == list(range(len(sizes)))
    assert tracker.in_flight == 0


def test_an_epoch_is_new_whenever_a_partition_is_assigned() -> None:
    assignment = Assignment()
    assignment.assigned([0, 1])
    first = assignment.epochs
    assignment.revoked([0, 1])
    assert assignment.epochs == {}
    assignment.assigned([1, 2])
    assert assignment.epochs[1] > first[1]
    assignment.assigned([0])
    assert assignment.epochs[0] > assignment.epochs[1] == assignment.epochs[2]
    assert first == {0: 1, 1: 1}, "a caller compares with the mapping that it kept"


def test_an_offset_that_goes_back_means_another_log_and_a_new_epoch() -> None:
    assignment = Assignment()
    assignment.assigned([0, 1])
    for offset in (100, 101, 105):
        assignment.read(0, offset)
        assignment.read(1, offset)
    assert assignment.epochs == {0: 1, 1: 1}
    assignment.read(0, 0)
    assert assignment.epochs == {0: 2, 1: 1}
    assignment.read(0, 1)
    assert assignment.epochs == {0: 2, 1: 1}


def test_an_offset_may_go_back_after_a_seek_and_after_a_rebalance() -> None:
    assignment = Assignment()
    assignment.assigned([0])
    assignment.read(0, 100)
    assignment.sought(0)
    assignment.read(0, 50)
    assert assignment.epochs == {0: 1}
    assignment.revoked([0])
    assignment.assigned([0])
    assignment.read(0, 7)
    assert assignment.epochs == {0: 2}


def test_a_producer_is_forgotten_when_epochs_pass_and_nothing_is_delivered() -> None:
    detector = ForgottenProducerDetector()
    assert not detector.is_forgotten(0, 500)
    assert not detector.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY, 500)
    assert detector.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY + 1, 500)


def test_a_producer_that_delivers_is_not_forgotten_however_many_epochs_it_needs() -> None:
    detector = ForgottenProducerDetector()
    assert not any(detector.is_forgotten(epoch, delivered=epoch) for epoch in range(0, 1_000, 9))


def test_a_new_identity_starts_with_a_low_epoch() -> None:
    detector = ForgottenProducerDetector()
    assert not detector.is_forgotten(30_000, 1)
    assert not detector.is_forgotten(0, 1)
    assert not detector.is_forgotten(5, 1)


def test_the_same_error_is_logged_once_per_interval_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = ThrottledLogger(logging.getLogger("test"), "Kafka", clock=lambda: now[0], interval_s=10.0)
    with caplog.at_level(logging.WARNING, "test"):
        for _ in range(5):
            errors.warn("_TRANSPORT", "refused")
        errors.warn("_ALL_BROKERS_DOWN", "all down")
        now[0] = 10.0
        errors.warn("_TRANSPORT", "refused")
    assert caplog.messages == ["Kafka: refused", "Kafka: all down", "Kafka: refused (4 more like it before)"]
