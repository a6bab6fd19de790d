"""The pure rules of the Kafka adapters: assignments, batches, forgotten producers, repeated errors."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from infrastructure.kafka.confluent_producer import MAX_EPOCHS_WITHOUT_DELIVERY, ForgottenProducerDetector
from infrastructure.kafka.delivery_tracker import DeliveryTracker
from infrastructure.kafka.partition_assignment import Assignment
from infrastructure.kafka.silent_client import KAFKA_PYTHON, silent_kafka_python
from infrastructure.observability.throttled_log import ThrottledLogger


def test_every_assignment_has_a_higher_epoch_and_a_revoked_partition_none() -> None:
    assignment = Assignment()
    assignment.assigned([0, 1])
    first = assignment.epochs
    assignment.revoked([0, 1])
    assert assignment.epochs == {}
    assignment.assigned([1, 2])
    assert set(assignment.epochs) == {1, 2}
    assert assignment.epochs[1] > first[1]
    assert set(first) == {0, 1}


def test_an_offset_below_the_expected_one_starts_an_epoch_of_that_partition_only() -> None:
    assignment = Assignment()
    assignment.assigned([0, 1])
    before = assignment.epochs
    for offset in (5, 6, 9):
        assignment.read(0, offset)
    assert assignment.epochs == before
    assignment.read(0, 0)
    assert assignment.epochs[0] > before[0]
    assert assignment.epochs[1] == before[1]


@pytest.mark.parametrize("moved", [lambda a: a.sought(0), lambda a: a.assigned([0])], ids=["sought", "assigned"])
def test_a_requested_offset_starts_no_epoch(moved: Callable[[Assignment], None]) -> None:
    assignment = Assignment()
    assignment.assigned([0])
    assignment.read(0, 100)
    moved(assignment)
    before = assignment.epochs
    assignment.read(0, 3)
    assert assignment.epochs == before


def test_a_batch_finishes_once_when_sealed_and_delivered_in_either_order() -> None:
    tracker = DeliveryTracker()
    for batch_id in (1, 2):
        tracker.batch(batch_id).sent(2)
    first, second = tracker.batch(1), tracker.batch(2)
    first.delivered(None, None)
    first.delivered(None, None)
    assert not tracker.any_finished()
    first.seal()
    second.seal()
    assert tracker.take() == [1]
    second.delivered(None, None)
    assert tracker.take() == []
    second.delivered(None, None)
    assert (tracker.take(), tracker.take()) == ([2], [])
    assert (tracker.in_flight, tracker.delivered) == (0, 4)


def test_the_first_failure_is_kept_and_its_batch_never_finishes() -> None:
    tracker = DeliveryTracker()
    batch = tracker.batch(1)
    batch.sent(2)
    batch.seal()
    batch.delivered("first", None)
    batch.delivered("second", None)
    assert (tracker.failure, tracker.take(), tracker.in_flight) == ("first", [], 2)


def test_a_producer_is_forgotten_when_epochs_pass_without_a_delivery() -> None:
    detector = ForgottenProducerDetector()
    assert not detector.is_forgotten(0, 100)
    assert not detector.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY, 100)
    assert detector.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY + 1, 100)


def test_a_delivery_or_a_new_identity_restarts_the_count() -> None:
    detector = ForgottenProducerDetector()
    assert not detector.is_forgotten(0, 1)
    assert not detector.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY + 1, 2)
    assert not detector.is_forgotten(0, 2)
    assert not detector.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY, 2)


def test_repeated_errors_are_counted_and_logged_once_per_interval(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = ThrottledLogger(logging.getLogger("test"), "Kafka", clock=lambda: now[0], interval_s=10.0)
    with caplog.at_level(logging.WARNING):
        for second in range(21):
            now[0] = float(second)
            errors.warn("down", "it is unavailable")
        errors.warn("other", "it is slow")
    assert caplog.messages == [
        "Kafka: it is unavailable",
        "Kafka: it is unavailable (9 more like it before)",
        "Kafka: it is unavailable (9 more like it before)",
        "Kafka: it is slow",
    ]


def test_kafka_python_logs_again_when_the_last_silencing_block_has_ended() -> None:
    before = KAFKA_PYTHON.level
    with silent_kafka_python():
        with silent_kafka_python():
            assert not logging.getLogger("kafka.net").isEnabledFor(logging.ERROR)
        assert not logging.getLogger("kafka.net").isEnabledFor(logging.ERROR)
    assert KAFKA_PYTHON.level == before
    assert logging.getLogger("kafka.net").isEnabledFor(logging.ERROR)
