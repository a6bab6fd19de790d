"""The first answer of each leg is recorded beside the requests: bounded, retried, and never twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError
from prometheus_client import REGISTRY

from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand, RecordEta
from domain.errors import UnreadableDelivery
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.operations.first_etas import MAX_BATCH_ETAS, SOURCE, FirstEtas
from tests.support.waiting import eventually
from tests.unit.domain.given import NOW_MS

OF_MODEL = EtaQuantiles(90.125, 180.5)
"""Before calibration."""


def an_answer(order_id: str = "order-1", leg: str = "to_customer", at_ms: int = NOW_MS) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "eta_seconds": 120,
        "p50_seconds": 120.5,
        "p90_seconds": 300.25,
        "model": {"name": "baseline", "digest": "abc"},
        "features": {"leg": leg},
        "because": (),
        "positions": {"order": 7, "rider": None, "city_snapshot": 17},
        "at_ms": at_ms,
        "age_ms": None,
    }


class Log:
    """Records one ETA a leg. ``error`` is raised instead; ``bad`` orders break the batch that they are in."""

    def __init__(self) -> None:
        self.recorded: list[RecordEta] = []
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.bad: set[str] = set()
        self.refused: set[str] = set()

    def record(self, commands: Sequence[DeliveryCommand]) -> list[CommandOutcome]:
        self.batches.append(len(commands))
        if self.error is not None:
            raise self.error
        if self.bad & {command.order_id for command in commands}:
            raise IntegrityError("the log does not continue 1 aggregate")
        return [self._one(command) for command in commands]

    def _one(self, command: DeliveryCommand) -> CommandOutcome:
        assert isinstance(command, RecordEta)
        if command.order_id in self.refused:
            return CommandOutcome(None, recorded=False, rejection=UnreadableDelivery("no"))
        if (command.order_id, command.leg) in self.legs:
            return CommandOutcome(None, recorded=False)
        self.recorded.append(command)
        return CommandOutcome(None, recorded=True)

    @property
    def legs(self) -> list[tuple[str, str]]:
        return [(each.order_id, each.leg) for each in self.recorded]


@pytest.fixture
def log() -> Log:
    return Log()


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("ridelog_first_etas_total", {"outcome": outcome}) or 0.0


def test_the_first_answer_of_each_leg_is_recorded_as_it_was_given(log: Log) -> None:
    first = FirstEtas(log.record)
    for number, leg in enumerate(["unassigned", "unassigned", "to_restaurant", "unassigned"]):
        first(an_answer(leg=leg, at_ms=NOW_MS + number), OF_MODEL)
    first.flush()
    assert log.recorded == [
        RecordEta(
            order_id="order-1",
            received_ms=at_ms,
            at_ms=at_ms,
            source_service=SOURCE,
            leg=leg,
            p50_seconds=120.5,
            p90_seconds=300.25,
            model_digest="abc",
            city_snapshot=17,
            model_p50_seconds=90.125,
            model_p90_seconds=180.5,
        )
        for leg, at_ms in (("unassigned", NOW_MS), ("to_restaurant", NOW_MS + 2))
    ]
    for command in log.recorded:
        command.check()


def test_a_known_leg_sends_no_command(log: Log) -> None:
    first = FirstEtas(log.record)
    for _ in range(3):
        first(an_answer(), OF_MODEL)
        first.flush()
    assert log.batches == [1]


def test_another_process_asks_the_log_once(log: Log) -> None:
    before = counted("repeated")
    for process in (FirstEtas(log.record), FirstEtas(log.record)):
        for _ in range(2):
            process(an_answer(), OF_MODEL)
            process.flush()
    assert (log.legs, log.batches) == ([("order-1", "to_customer")], [1, 1])
    assert counted("repeated") == before + 1


def test_invariant_15_a_full_queue_drops_the_answer_counts_it_and_takes_the_next_one(log: Log) -> None:
    first, before = FirstEtas(log.record, max_waiting=2), counted("dropped")
    for number in range(3):
        first(an_answer(f"order-{number}"), OF_MODEL)
    assert counted("dropped") == before + 1
    first.flush()
    first(an_answer("order-2", at_ms=NOW_MS + 60_000), OF_MODEL)
    first.flush()
    assert [(each.order_id, each.at_ms) for each in log.recorded] == [
        ("order-0", NOW_MS),
        ("order-1", NOW_MS),
        ("order-2", NOW_MS + 60_000),
    ]


def test_invariant_15_forgotten_legs_are_decided_again(log: Log) -> None:
    first = FirstEtas(log.record, max_remembered=2)
    for number in (0, 1, 2, 0):
        first(an_answer(f"order-{number}"), OF_MODEL)
        first.flush()
    assert len(first._remembered) == 2
    assert log.batches == [1, 1, 1, 1]
    assert len(log.recorded) == 3


def test_answers_wait_while_the_event_store_is_unavailable(log: Log) -> None:
    first, dropped = FirstEtas(log.record, max_waiting=3), counted("dropped")
    first(an_answer("order-0"), OF_MODEL)
    first(an_answer("order-1"), OF_MODEL)
    log.error = OperationalError("no connection")
    first.flush()
    first(an_answer("order-2"), OF_MODEL)
    first(an_answer("order-3"), OF_MODEL)  # no room
    first.flush()
    log.error = None
    first.flush()
    assert log.legs == [(f"order-{number}", "to_customer") for number in range(3)]
    assert counted("dropped") == dropped + 1


def test_one_order_that_cannot_be_recorded_fails_no_other_one(log: Log) -> None:
    first, refused = FirstEtas(log.record), counted("refused")
    log.bad = {"order-1"}
    for number in range(3):
        first(an_answer(f"order-{number}"), OF_MODEL)
    first.flush()
    assert log.legs == [("order-0", "to_customer"), ("order-2", "to_customer")]
    assert counted("refused") == refused + 1
    log.bad = set()
    first(an_answer("order-1"), OF_MODEL)
    first.flush()
    assert len(log.recorded) == 3


def test_a_refused_answer_is_not_sent_again_and_again(log: Log) -> None:
    first, refused = FirstEtas(log.record), counted("refused")
    log.refused = {"order-1"}
    for _ in range(3):
        first(an_answer(), OF_MODEL)
        first.flush()
    assert (log.batches, counted("refused")) == ([1], refused + 1)


def test_an_unexpected_error_ends_neither_the_recording_nor_a_request(log: Log) -> None:
    first = FirstEtas(log.record)
    log.error = RuntimeError("a fault of the program")
    first(an_answer(), OF_MODEL)
    first.flush()
    log.error = None
    first(an_answer(), OF_MODEL)
    first.flush()
    assert log.legs == [("order-1", "to_customer")]


def test_a_transaction_is_bounded(log: Log) -> None:
    first = FirstEtas(log.record)
    for number in range(2 * MAX_BATCH_ETAS + 1):
        first(an_answer(f"order-{number}"), OF_MODEL)
    first.flush()
    assert log.batches == [MAX_BATCH_ETAS, MAX_BATCH_ETAS, 1]


def test_invariant_14_after_a_restore_an_answer_is_recorded_again(log: Log) -> None:
    first = FirstEtas(log.record)
    first(an_answer("order-1"), OF_MODEL)
    first.flush()
    log.recorded.clear()
    first(an_answer("order-2"), OF_MODEL)
    first.clear()
    for order_id in ("order-1", "order-2"):
        first(an_answer(order_id), OF_MODEL)
    first.flush()
    assert sorted(log.legs) == [("order-1", "to_customer"), ("order-2", "to_customer")]
    assert log.batches == [1, 2], "what waits is sent once"


def test_the_thread_records_and_its_end_writes_what_waits(log: Log) -> None:
    first = FirstEtas(log.record)
    first.start()
    first(an_answer("order-1"), OF_MODEL)
    eventually(lambda: log.legs, what="the answer is recorded")
    first(an_answer("order-2"), OF_MODEL)
    first.stop()
    assert len(log.recorded) == 2
