"""Requests of ``/deliveries``: a command, or the error that names what is wrong; never a failure of the server."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.deliveries.commands import Assign, Cancel, DeliveryCommand, PickUp, PlaceOrder
from domain.deliveries.values import Coordinates
from domain.errors import DomainError
from infrastructure.http.command_body import decode_object, idempotency_key
from infrastructure.http.delivery_body import STEPS, parse_place, parse_step
from infrastructure.http.errors import ApiError

NOW_MS = 1_790_000_000_000
HERE = {"latitude": 52.5, "longitude": 13.4}
ORDER: dict[str, Any] = {
    "order_id": "order-7",
    "restaurant": HERE,
    "customer": {"latitude": 52, "longitude": -13},
    "time_zone": "Europe/Berlin",
    "currency": "EUR",
}


def placed(key: str | None = None, **changes: Any) -> PlaceOrder:
    return parse_place({**ORDER, **changes}, key, NOW_MS)


def stepped(verb: str, key: str | None = None, order_id: str = "order-7", **body: Any) -> DeliveryCommand:
    return parse_step(verb, order_id, body, key, NOW_MS)


def code_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(DomainError) as caught:
        call(*arguments, **options)
    assert str(caught.value)
    return caught.value.code


def test_an_order_with_the_required_fields_only() -> None:
    command = placed(unknown=[1, 2], placed_at=None, city=None, items=None)
    places = (Coordinates(52.5, 13.4), Coordinates(52.0, -13.0))
    assert (command.order_id, command.restaurant, command.customer) == ("order-7", *places)
    assert (command.at_ms, command.happened_ms, command.received_ms) == (None, NOW_MS, NOW_MS)
    assert (command.city, command.preparation_seconds, command.items, command.command_id) == (None, None, None, None)


def test_an_order_with_every_field() -> None:
    command = placed(
        "key-1",
        placed_at="2026-09-21T14:13:20Z",
        city="Berlin",
        preparation_seconds=600.0,
        promised_seconds=0,
        items=3,
        source_service="shop",
    )
    assert command.at_ms == NOW_MS
    assert (command.city, command.preparation_seconds, command.promised_seconds) == ("Berlin", 600, 0)
    assert (command.items, command.source_service, command.command_id) == (3, "shop", "key-1")


@pytest.mark.parametrize("field", sorted(ORDER))
@pytest.mark.parametrize("value", [None, True, 7, [], 1.5])
def test_required_fields_of_the_wrong_type(field: str, value: object) -> None:
    assert code_of(placed, **{field: value}) == "invalid_type"
    without = {name: value for name, value in ORDER.items() if name != field}
    assert code_of(parse_place, without, None, NOW_MS) == "invalid_type"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"order_id": ""}, "invalid_order_id"),
        ({"order_id": "a/b"}, "invalid_order_id"),
        ({"order_id": "x" * 129}, "invalid_order_id"),
        ({"order_id": ".."}, "invalid_order_id"),
        ({"order_id": "\u2800"}, "invalid_order_id"),
        ({"order_id": "a\ud800"}, "invalid_order_id"),
        ({"restaurant": {"latitude": 90.1, "longitude": 0}}, "invalid_coordinates"),
        ({"customer": {"latitude": 0, "longitude": -180.1}}, "invalid_coordinates"),
        ({"customer": {"latitude": math.nan, "longitude": 0}}, "invalid_coordinates"),
        ({"customer": {"latitude": 10**400, "longitude": 0}}, "invalid_coordinates"),
        ({"restaurant": {"latitude": "52", "longitude": 0}}, "invalid_type"),
        ({"restaurant": {"latitude": 52}}, "invalid_type"),
        ({"restaurant": {"latitude": None, "longitude": 0}}, "invalid_type"),
        ({"restaurant": [52, 13]}, "invalid_type"),
        ({"time_zone": "Berlin"}, "invalid_time_zone"),
        ({"time_zone": "europe/berlin"}, "invalid_time_zone"),
        ({"time_zone": "+01:00"}, "invalid_time_zone"),
        ({"time_zone": "../../etc/passwd"}, "invalid_time_zone"),
        ({"time_zone": "localtime"}, "invalid_time_zone"),
        ({"time_zone": ""}, "invalid_time_zone"),
        ({"currency": "eur"}, "invalid_currency"),
        ({"currency": "EURO"}, "invalid_currency"),
        ({"currency": "XXX"}, "invalid_currency"),
        ({"currency": ""}, "invalid_currency"),
        ({"preparation_seconds": -1}, "out_of_range"),
        ({"promised_seconds": 10**12}, "out_of_range"),
        ({"items": -3}, "out_of_range"),
        ({"items": 1.5}, "invalid_type"),
        ({"items": "3"}, "invalid_type"),
        ({"items": math.inf}, "invalid_type"),
        ({"city": 7}, "invalid_type"),
        ({"city": "x" * 129}, "invalid_type"),
        ({"city": "a\nb"}, "invalid_type"),
        ({"city": "\ud800"}, "invalid_type"),
        ({"source_service": ["shop"]}, "invalid_type"),
        ({"placed_at": True}, "invalid_type"),
        ({"placed_at": 1.5}, "invalid_type"),
        ({"placed_at": "yesterday"}, "invalid_type"),
        ({"placed_at": "2026-09-21T14:13:20"}, "invalid_type"),
        ({"placed_at": 946_684_799_999}, "timestamp_too_old"),
        ({"placed_at": NOW_MS - 1024 * 7 * 86_400_000}, "gps_week_rollover"),
        ({"placed_at": NOW_MS + 300_001}, "timestamp_in_future"),
        ({"placed_at": 10**30}, "timestamp_in_future"),
    ],
)
def test_a_value_that_no_order_can_have(changes: dict[str, Any], code: str) -> None:
    assert code_of(placed, **changes) == code


def test_a_time_is_an_integer_or_rfc_3339_and_one_instant_is_one_value() -> None:
    texts = [NOW_MS, float(NOW_MS), "2026-09-21T14:13:20Z", "2026-09-21T16:13:20.000+02:00", "2026-09-21t14:13:20z"]
    assert {stepped("pickup", at=text).at_ms for text in texts} == {NOW_MS}
    assert stepped("pickup", at=NOW_MS + 300_000).happened_ms == NOW_MS + 300_000
    assert stepped("pickup").at_ms is None


def test_a_time_zone_of_the_iana_list_is_accepted_by_every_spelling_that_it_has() -> None:
    for name in ("Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+5", "Asia/Kathmandu"):
        assert placed(time_zone=name).time_zone == name


def test_each_step_has_its_own_fields() -> None:
    assign = stepped("assign", "k", rider_id="anna", at=NOW_MS - 5)
    assert isinstance(assign, Assign)
    assert (assign.order_id, assign.rider_id, assign.at_ms, assign.command_id) == ("order-7", "anna", NOW_MS - 5, "k")
    cancel = stepped("cancel", reason="the customer called")
    assert isinstance(cancel, Cancel)
    assert cancel.reason == "the customer called"
    assert isinstance(stepped("pickup", rider_id=7, reason=7), PickUp)
    assert sorted(STEPS) == ["arrive", "assign", "cancel", "complete", "pickup", "unassign"]


@pytest.mark.parametrize(
    ("verb", "body", "code"),
    [
        ("assign", {}, "invalid_type"),
        ("assign", {"rider_id": None}, "invalid_type"),
        ("assign", {"rider_id": "a/b"}, "invalid_rider_id"),
        ("cancel", {"reason": 7}, "invalid_type"),
        ("unassign", {"reason": "x" * 513}, "invalid_type"),
        ("arrive", {"at": 0}, "timestamp_too_old"),
        ("complete", {"at": {}}, "invalid_type"),
    ],
)
def test_a_step_that_cannot_be(verb: str, body: dict[str, Any], code: str) -> None:
    assert code_of(stepped, verb, **body) == code


def test_the_id_of_the_path_is_checked_as_that_of_the_body_is() -> None:
    assert code_of(stepped, "pickup", order_id=" a") == "invalid_order_id"
    assert code_of(stepped, "pickup", order_id="\0") == "invalid_order_id"


def test_a_key_has_1_to_128_printable_characters() -> None:
    assert idempotency_key([]) is None
    assert idempotency_key([b"key 1"]) == "key 1"
    assert idempotency_key(["ключ".encode()]) == "ключ"
    assert idempotency_key([b"\xe9"]) == "é"
    assert code_of(idempotency_key, [b"a", b"a"]) == "invalid_type"
    assert stepped("pickup", "k" * 128).command_id == "k" * 128
    for key in ("", "k" * 129, "a\tb", "\x85"):
        assert code_of(stepped, "pickup", key) == "invalid_type"


def test_a_body_is_an_object_or_empty() -> None:
    assert decode_object(b"") == decode_object(b" \n") == decode_object(b"{}") == {}
    for body in (b"[]", b"null", b"7", b'"order"', b"[{}]"):
        assert code_of(decode_object, body) == "invalid_type"
    for body in (b"{", b"{'a': 1}", b"\xff", b'{"a": }'):
        with pytest.raises(ApiError) as caught:
            decode_object(body)
        assert (caught.value.status, caught.value.code) == (400, "malformed_json")


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, "\ud800", "Europe/Berlin", "EUR", NOW_MS, "2026-09-21T14:13:20Z", "order-7"])
)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner), max_leaves=6)
places = st.fixed_dictionaries({"latitude": values, "longitude": values}) | values | st.just(HERE)
orders = st.fixed_dictionaries(
    {name: places if name in {"restaurant", "customer"} else st.just(value) | values for name, value in ORDER.items()},
    optional=dict.fromkeys(
        ("placed_at", "city", "preparation_seconds", "promised_seconds", "items", "source_service"), values
    ),
)
steps = st.dictionaries(st.sampled_from(["rider_id", "at", "reason", "source_service"]), values)
keys = st.none() | st.text(max_size=140)


def refusal_of(call: Callable[[], object]) -> str | int | None:
    """The code of a named error, the status of an error of the request, None without either."""
    try:
        call()
    except DomainError as error:
        return error.code
    except ApiError as error:
        return error.status
    return None


@given(orders | st.dictionaries(st.text(max_size=9), values), keys)
def test_any_order_is_a_command_or_a_named_error(item: dict[str, Any], key: str | None) -> None:
    assert refusal_of(lambda: parse_place(item, key, NOW_MS).digest()) != "domain_error"


@given(st.sampled_from(sorted(STEPS)), st.text() | st.just("order-7"), steps, keys)
def test_any_step_is_a_command_or_a_named_error(verb: str, order: str, item: dict[str, Any], key: str | None) -> None:
    assert refusal_of(lambda: parse_step(verb, order, item, key, NOW_MS).digest()) != "domain_error"


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_object_or_an_error_of_the_request(body: bytes) -> None:
    assert refusal_of(lambda: decode_object(body)) in {None, 400, "invalid_type"}


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_any_headers_are_a_key_or_a_named_error(headers: list[bytes]) -> None:
    assert refusal_of(lambda: idempotency_key(headers)) in {None, "invalid_type"}
