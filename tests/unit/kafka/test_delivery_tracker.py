"""The pure rules that the Kafka adapters share."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from infrastructure.kafka.confluent_producer import MAX_EPOCHS_WITHOUT_DELIVERY, ForgottenProducerDetector
from infrastructure.kafka.delivery_tracker import DeliveryTracker
from infrastructure.kafka.partition_assignment import Assignment
from infrastructure.kafka.throttled_log import KAFKA_PYTHON, ThrottledLogger, silent_kafka_python


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
def test_an_offset_that_was_asked_for_starts_no_epoch(moved: Callable[[Assignment], None]) -> None:
    assignment = Assignment()
    assignment.assigned([0])
    assignment.read(0, 100)
    moved(assignment)
    before = assignment.epochs
    assignment.read(0, 3)
    assert assignment.epochs == before


def test_a_token_is_finished_once_when_sealed_and_delivered_in_either_order() -> None:
    tokens = DeliveryTracker()
    for number in (1, 2):
        tokens.batch(number).sent(2)
    first, second = tokens.batch(1), tokens.batch(2)
    first.delivered(None, None)
    first.delivered(None, None)
    assert not tokens.any_finished()
    first.seal()
    second.seal()
    assert tokens.take() == [1]
    second.delivered(None, None)
    assert tokens.take() == []
    second.delivered(None, None)
    assert (tokens.take(), tokens.take()) == ([2], [])
    assert (tokens.in_flight, tokens.delivered) == (0, 4)


def test_the_first_failure_is_kept_and_its_token_never_finishes() -> None:
    tokens = DeliveryTracker()
    token = tokens.batch(1)
    token.sent(2)
    token.seal()
    token.delivered("first", None)
    token.delivered("second", None)
    assert (tokens.failure, tokens.take(), tokens.in_flight) == ("first", [], 2)


def test_a_producer_is_forgotten_when_epochs_pass_without_a_delivery() -> None:
    watch = ForgottenProducerDetector()
    assert not watch.is_forgotten(0, 100)
    assert not watch.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY, 100)
    assert watch.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY + 1, 100)


def test_a_delivery_or_a_new_identity_starts_the_count_anew() -> None:
    watch = ForgottenProducerDetector()
    assert not watch.is_forgotten(0, 1)
    assert not watch.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY + 1, 2)
    assert not watch.is_forgotten(0, 2)
    assert not watch.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY, 2)


def test_repeated_errors_are_counted_and_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = ThrottledLogger(logging.getLogger("test"), "Kafka", clock=lambda: now[0], interval_s=10.0)
    with caplog.at_level(logging.WARNING):
        for second in range(21):
            now[0] = float(second)
            errors.warn("down", "it is away")
        errors.warn("other", "it is slow")
    assert caplog.messages == [
        "Kafka: it is away",
        "Kafka: it is away (9 more like it before)",
        "Kafka: it is away (9 more like it before)",
        "Kafka: it is slow",
    ]


def test_kafka_python_speaks_again_when_the_last_who_asked_for_silence_has_ended() -> None:
    before = KAFKA_PYTHON.level
    with silent_kafka_python():
        with silent_kafka_python():
            assert not logging.getLogger("kafka.net").isEnabledFor(logging.ERROR)
        assert not logging.getLogger("kafka.net").isEnabledFor(logging.ERROR)
    assert KAFKA_PYTHON.level == before
    assert logging.getLogger("kafka.net").isEnabledFor(logging.ERROR)
