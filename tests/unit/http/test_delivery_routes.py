"""The commands of ``/deliveries`` over HTTP: statuses, codes, roles, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from domain import errors
from domain.deliveries.batch import CommandOutcome
from domain.deliveries.values import DeliverySnapshot
from infrastructure.ingest.group_commit import ClockRefused, GroupCommit, NotRecorded, QueueFull
from tests.support.http.recording_dispatch import ORDER, SNAPSHOT, RecordingDispatch

FIELDS = {field.name for field in fields(DeliverySnapshot)}
STEPS = ("assign", "unassign", "pickup", "arrive", "complete", "cancel")


@pytest.fixture
def dispatch() -> RecordingDispatch:
    return RecordingDispatch()


@pytest.fixture
def http(dispatch: RecordingDispatch) -> Iterator[TestClient[Litestar]]:
    with dispatch.client("dispatcher") as client:
        yield client


def test_a_placed_order_is_201_and_the_same_again_200(http: TestClient[Litestar], dispatch: RecordingDispatch) -> None:
    first = http.post("/deliveries", json=ORDER, headers={"Idempotency-Key": "k-1"})
    dispatch.answer = CommandOutcome(SNAPSHOT, False, None, 17)
    again = http.post("/deliveries", json=ORDER)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert set(first.json()) == FIELDS
    assert first.json()["restaurant"] == {"latitude": 52.5, "longitude": 13.4}
    assert [command.command_id for command in dispatch.commands] == ["k-1", None]
    assert dispatch.counted == [("place", "recorded"), ("place", "repeated")]


@pytest.mark.parametrize("verb", STEPS)
def test_a_step_is_200_with_the_delivery_and_whether_it_was_recorded(
    http: TestClient[Litestar], dispatch: RecordingDispatch, verb: str
) -> None:
    body = {"rider_id": "anna"} if verb == "assign" else None
    first = http.post(f"/deliveries/order-7/{verb}", json=body)
    dispatch.answer = CommandOutcome(SNAPSHOT, False, None, 17)
    again = http.post(f"/deliveries/order-7/{verb}", json=body)
    assert (first.status_code, again.status_code) == (200, 200)
    assert (first.json()["recorded"], again.json()["recorded"]) == (True, False)
    assert set(first.json()) == FIELDS | {"recorded"}
    assert {(type(command).VERB, command.order_id) for command in dispatch.commands} == {(verb, "order-7")}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UnknownDelivery, 404),
        (errors.DeliveryExists, 409),
        (errors.WrongStatus, 409),
        (errors.OtherRider, 409),
        (errors.TooManyLegs, 409),
        (errors.IdempotencyConflict, 409),
        (errors.UnreadableDelivery, 500),
        (errors.InvalidRiderId, 400),
    ],
)
def test_a_refused_command_has_its_code(
    http: TestClient[Litestar], dispatch: RecordingDispatch, error: type[errors.DomainError], status: int
) -> None:
    dispatch.answer = CommandOutcome(None, False, error("what happened"), None)
    answer = http.post("/deliveries/order-7/pickup")
    assert (answer.status_code, answer.json()) == (status, {"code": error.code, "detail": "what happened"})
    assert dispatch.counted == [("pickup", error.code)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueFull("10 commands already wait"), "queue_full"),
        (NotRecorded("no answer"), "event_store_unavailable"),
        (ClockRefused("a day ahead"), "clock_ahead"),
    ],
)
def test_what_was_not_recorded_is_503_and_is_to_be_sent_again(
    http: TestClient[Litestar], dispatch: RecordingDispatch, error: Exception, code: str
) -> None:
    dispatch.answer = error
    answer = http.post("/deliveries", json=ORDER)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, code, "1")
    assert dispatch.counted == [("place", code)]


def test_invariant_15_a_full_queue_of_commands_refuses_the_next_one() -> None:
    commits: GroupCommit[str, str] = GroupCommit(list, max_queued=1, noun="commands")
    waiting: list[Any] = []

    async def full() -> None:
        waiting.append(asyncio.ensure_future(commits.submit(["first"])))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="1 commands already wait for the event store"):
            await commits.submit(["second"])
        commits.start()
        assert await waiting[0] == ["first"]

    asyncio.run(full())
    commits.stop()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[]", 400, "invalid_type"),
        (b"{}", 400, "invalid_type"),
        (b'{"rider_id": "a/b"}', 400, "invalid_rider_id"),
        (b'{"rider_id": "anna", "at": 1}', 400, "timestamp_too_old"),
        (b'{"rider_id": "anna", "x": "' + b"x" * 70_000 + b'"}', 413, "body_too_large"),
    ],
)
def test_an_invalid_request_reaches_no_application(
    http: TestClient[Litestar], dispatch: RecordingDispatch, body: bytes, status: int, code: str
) -> None:
    answer = http.post("/deliveries/unknown/assign", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert dispatch.commands == []
    assert dispatch.counted == [("assign", code)]


def test_an_invalid_id_in_the_path_is_400_for_commands_and_404_for_reads(http: TestClient[Litestar]) -> None:
    answer = http.post("/deliveries/%20x/pickup")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_order_id")
    found = http.get("/deliveries/%20x", headers={"Authorization": "Bearer reader"})
    assert (found.status_code, found.json()["code"]) == (404, "unknown_delivery")


@pytest.mark.parametrize("key", ["", "x" * 129, "a\tb"])
def test_an_invalid_key_is_400(http: TestClient[Litestar], dispatch: RecordingDispatch, key: str) -> None:
    answer = http.post("/deliveries/order-7/pickup", headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_type")
    assert dispatch.commands == []


def test_dispatchers_command_readers_read_and_phones_do_neither(dispatch: RecordingDispatch) -> None:
    commands = ["/deliveries", "/deliveries/order-7/link", *(f"/deliveries/order-7/{verb}" for verb in STEPS)]
    reads = ["/deliveries", "/deliveries/order-7"]
    for token, may_command, may_read in (("dispatcher", True, False), ("reader", False, True), ("phone", False, False)):
        with dispatch.client(token) as client:
            assert {client.post(path).status_code == 403 for path in commands} == {not may_command}
            assert {client.get(path).status_code for path in reads} == {200 if may_read else 403}
    with dispatch.client() as client:
        assert {client.post(path).status_code for path in commands} == {401}
        assert {client.get(path).status_code for path in reads} == {401}
    assert len(dispatch.commands) == 5  # the steps of the dispatcher that need no body
