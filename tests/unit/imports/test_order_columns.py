"""The columns of an order history are found by the names that platforms give them, and every doubt is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.errors import UserError
from infrastructure.imports.order_columns import OrderFile, find_order_columns, normalised, open_orders


def found(header: str, **names: str) -> dict[str, str]:
    """Field -> the name of its column."""
    titles = header.split(",")
    columns = find_order_columns(titles, names, "some.csv")._asdict()
    return {field: titles[index] for field, index in columns.items() if index is not None}


@pytest.mark.parametrize(
    "header",
    [
        "order,restaurant,customer,placed,completed",
        "order_id,restaurant_location,customer_location,placed_at,completed_at",
        "id,restaurant,customer,created_at,delivered_at",
        "Order ID,Restaurant,Customer,Placed At,Delivered Time",
        "orderId,restaurantCoordinates,customerCoordinates,createdAt,completedAt",
        "order,restaurant,customer,placed_at_ms,completed_at_ms",
        "order,restaurant,customer,placed_s,completed_s",
        "order,restaurant,customer,order_created_at_utc,delivered_time",
    ],
)
def test_the_five_columns_are_found_by_many_names(header: str) -> None:
    assert list(found(header)) == ["order", "restaurant", "customer", "placed", "completed"]


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("promised_seconds", "promised_seconds"),
        ("promise_s", "promised_seconds"),
        ("promised", "promised"),
        ("promised_at", "promised"),
        ("promised_minutes", "promised_minutes"),
        ("courier_id", "rider"),
        ("picked_up_at", "picked_up"),
        ("pickup_time", "picked_up"),
        ("item_count", "items"),
        ("canceled_at", "cancelled"),
        ("timezone", "time_zone"),
    ],
)
def test_optional_columns_are_found(header: str, field: str) -> None:
    assert found(f"order,restaurant,customer,placed,completed,{header}")[field] == header


def test_places_are_a_pair_of_columns_or_one() -> None:
    pair = "order,venue_lat,venue_long,user_lat,user_long,placed,completed"
    assert found(pair) == {
        "order": "order",
        "restaurant_latitude": "venue_lat",
        "restaurant_longitude": "venue_long",
        "customer_latitude": "user_lat",
        "customer_longitude": "user_long",
        "placed": "placed",
        "completed": "completed",
    }
    # A name of the restaurant beside its degrees is no place.
    assert "restaurant" not in found(f"restaurant,{pair}")


def test_the_name_that_says_most_wins() -> None:
    header = "id,order,order_id,restaurant,customer,completed,completed_at,placed,created_at,promised,promised_seconds"
    names = found(header)
    assert (names["order"], names["completed"], names["placed"]) == ("order_id", "completed_at", "created_at")
    assert "promised" not in names


def test_a_column_that_the_user_names_is_used() -> None:
    header = "Nr,a,b,placed,completed,delivered_at"
    names = {"order": "Nr", "restaurant": "a", "customer": "b", "completed": "delivered_at"}
    assert found(header, **names)["completed"] == "delivered_at"
    with pytest.raises(UserError, match=r"no column c for customer; it has Nr, a, b"):
        found(header, **(names | {"customer": "c"}))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("restaurant,customer,placed,completed", r"no column for order; it has restaurant, customer"),
        ("order,customer,placed,completed", r"no column for restaurant \(or restaurant_latitude and"),
        ("order,restaurant,customer_lat,placed,completed", r"no column for customer \(or"),
        ("order,restaurant,customer,completed", "no column for placed"),
        ("order,restaurant,customer,placed", r"no column for completed; .*--column FIELD=NAME"),
        ("order,Order,restaurant,customer,placed,completed", "2 columns named order"),
    ],
)
def test_a_missing_or_doubled_column_is_named(header: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(header)


def test_names_are_compared_without_case_and_punctuation() -> None:
    assert {normalised(each) for each in ("orderId", " Order ID", "ORDER-ID", "order.id", "Order_Id")} == {"order_id"}


def test_the_file_says_how_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("orderId;restaurant;customer;placed;completed;weather\n")
    source = open_orders(path, {})
    assert isinstance(source, OrderFile)
    assert source.used() == f"{path}: order = orderId, restaurant, customer, placed, completed; not read: weather"
