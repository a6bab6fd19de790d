"""The rules that the Kafka adapters share: tokens, assignments, forgotten producers, repeated errors."""

from __future__ import annotations

import logging
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.kafka.confluent_producer import MAX_EPOCHS_WITHOUT_DELIVERY, ForgottenProducerDetector
from infrastructure.kafka.delivery_tracker import DeliveryTracker
from infrastructure.kafka.partition_assignment import Assignment
from infrastructure.kafka.throttled_log import ThrottledLogger


def test_a_token_is_finished_when_sealed_and_delivered_whichever_comes_last() -> None:
    tokens = DeliveryTracker()
    for number in (1, 2):
        tokens.batch(number).sent(1)
    tokens.batch(1).delivered(None, None)
    assert not tokens.any_finished()
    tokens.batch(1).seal()
    assert tokens.take() == [1]
    tokens.batch(2).seal()
    assert not tokens.any_finished()
    tokens.batch(2).delivered(None, None)
    assert tokens.take() == [2]
    assert tokens.in_flight == 0


def test_the_first_failure_is_kept_and_its_token_is_never_finished() -> None:
    tokens = DeliveryTracker()
    token = tokens.batch(1)
    token.sent(2)
    token.seal()
    token.delivered("too large", None)
    token.delivered("the broker is away", None)
    assert tokens.failure == "too large"
    assert tokens.in_flight == 2
    assert tokens.take() == []


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_every_token_is_finished_once_in_any_order_of_delivery(sizes: list[int], random: Random) -> None:
    tokens = DeliveryTracker()
    deliveries = [tokens.batch(number).delivered for number, size in enumerate(sizes) for _ in range(size)]
    for number, size in enumerate(sizes):
        tokens.batch(number).sent(size)
        tokens.batch(number).seal()
    random.shuffle(deliveries)
    taken = tokens.take()
    for deliver in deliveries:
        deliver(None, None)
        taken += tokens.take()
    assert sorted(taken) == list(range(len(sizes)))
    assert tokens.in_flight == 0


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
    watch = ForgottenProducerDetector()
    assert not watch.is_forgotten(0, 500)
    assert not watch.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY, 500)
    assert watch.is_forgotten(MAX_EPOCHS_WITHOUT_DELIVERY + 1, 500)


def test_a_producer_that_delivers_is_not_forgotten_however_many_epochs_it_needs() -> None:
    watch = ForgottenProducerDetector()
    assert not any(watch.is_forgotten(epoch, delivered=epoch) for epoch in range(0, 1_000, 9))


def test_a_new_identity_starts_with_a_low_epoch() -> None:
    watch = ForgottenProducerDetector()
    assert not watch.is_forgotten(30_000, 1)
    assert not watch.is_forgotten(0, 1)
    assert not watch.is_forgotten(5, 1)


def test_the_same_error_is_logged_once_in_a_while_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = ThrottledLogger(logging.getLogger("test"), "Kafka", clock=lambda: now[0], interval_s=10.0)
    with caplog.at_level(logging.WARNING, "test"):
        for _ in range(5):
            errors.warn("_TRANSPORT", "refused")
        errors.warn("_ALL_BROKERS_DOWN", "all down")
        now[0] = 10.0
        errors.warn("_TRANSPORT", "refused")
    assert caplog.messages == ["Kafka: refused", "Kafka: all down", "Kafka: refused (4 more like it before)"]
