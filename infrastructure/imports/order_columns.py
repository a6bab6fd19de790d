"""Finds the columns of an order history by the names that platforms and data sets give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

from infrastructure.errors import UserError
from infrastructure.imports.csv_files import read_header

_IN_UTC = ("_at_utc", "_time_utc", "_utc")
"""A column so named has its times in UTC, also those without a zone."""

_NUMBERS = ("_at_ms", "_at_s", "_epoch_ms", "_epoch_s", "_epoch")
_INSTANT = (*_NUMBERS, *_IN_UTC, "_at", "_ms", "_s", "_time", "_timestamp", "_datetime", "_ts", "_date")


def _named(*bases: str, suffixes: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of preference: every base with the first suffix before any with the second."""
    return tuple(base + suffix for suffix, base in product(suffixes, bases))


def _instants(*bases: str, plain: Sequence[str] = ()) -> tuple[str, ...]:
    return (*_named(*bases, suffixes=_INSTANT), *plain)


_RESTAURANTS = ("restaurant", "venue", "store", "merchant", "pickup", "pick_up", "origin", "shop")
_CUSTOMERS = ("customer", "user", "dropoff", "drop_off", "destination", "delivery_location", "delivery", "recipient")
_LATITUDES = ("_latitude", "_lat")
_LONGITUDES = ("_longitude", "_lon", "_lng", "_long")
_PLACE = ("_location", "_coordinates", "_lat_lon", "_latlon", "_position")

NAMES: Mapping[str, tuple[str, ...]] = {
    "order": ("order_id", "order", "order_number", "order_no", "order_uuid", "delivery_id", "id"),
    "restaurant": (*_named(*_RESTAURANTS, suffixes=_PLACE), "restaurant", "venue", "merchant"),
    "restaurant_latitude": _named(*_RESTAURANTS, suffixes=_LATITUDES),
    "restaurant_longitude": _named(*_RESTAURANTS, suffixes=_LONGITUDES),
    "customer": (*_named(*_CUSTOMERS[:-2], suffixes=_PLACE), "delivery_location", "customer"),
    "customer_latitude": _named(*_CUSTOMERS, suffixes=_LATITUDES),
    "customer_longitude": _named(*_CUSTOMERS, suffixes=_LONGITUDES),
    "placed": _instants(
        "placed", "order_placed", "ordered", "created", "order_created", "order", plain=("placed", "timestamp")
    ),
    "completed": _instants(
        "completed", "delivered", "handed_over", "actual_delivery", plain=("completed", "delivered", "handed_over")
    ),
    "cancelled": _instants("cancelled", "canceled", plain=("cancelled", "canceled")),
    "assigned": _instants("assigned", "rider_assigned", "courier_assigned", plain=("assigned",)),
    "picked_up": _instants("picked_up", "pickup", "pick_up", "collected", plain=("picked_up",)),
    "arrived": _instants("arrived", "arrived_at_customer", plain=("arrived", "arrived_at_customer")),
    "rider": ("rider_id", "courier_id", "driver_id", "rider", "courier", "driver"),
    "promised_seconds": (
        *_named("promised", "promise", suffixes=("_seconds", "_s", "_sec", "_secs")),
        "estimated_delivery_seconds",
    ),
    "promised_minutes": (
        *_named("promised", "promise", suffixes=("_minutes", "_min", "_mins")),
        "estimated_delivery_minutes",
    ),
    "promised": _instants("promised", "promised_delivery", "promise", plain=("promised", "promise")),
    "items": ("items", "item_count", "items_count", "total_items", "number_of_items", "quantity"),
    "preparation_seconds": _named("preparation", "prep", suffixes=("_seconds", "_s", "_sec")),
    "preparation_minutes": _named("preparation", "prep", suffixes=("_minutes", "_min")),
    "city": ("city", "city_name"),
    "time_zone": ("time_zone", "timezone", "tz"),
    "currency": ("currency", "currency_code"),
}
"""Field -> the names by which its column is found, the preferred one first, as ``normalised`` writes them."""

FIELDS = tuple(NAMES)
_BOTH = {"restaurant": "restaurant_latitude and restaurant_longitude", "customer": "customer_latitude and …_longitude"}


class OrderColumns(NamedTuple):
    """The index of each field's column in a row; None means that the file has no such column."""

    order: int | None = None
    restaurant: int | None = None
    restaurant_latitude: int | None = None
    restaurant_longitude: int | None = None
    customer: int | None = None
    customer_latitude: int | None = None
    customer_longitude: int | None = None
    placed: int | None = None
    completed: int | None = None
    cancelled: int | None = None
    assigned: int | None = None
    picked_up: int | None = None
    arrived: int | None = None
    rider: int | None = None
    promised_seconds: int | None = None
    promised_minutes: int | None = None
    promised: int | None = None
    items: int | None = None
    preparation_seconds: int | None = None
    preparation_minutes: int | None = None
    city: int | None = None
    time_zone: int | None = None
    currency: int | None = None


class OrderFile(NamedTuple):
    """A CSV file of orders whose columns have been found."""

    path: Path
    header: tuple[str, ...]
    columns: OrderColumns

    def is_utc(self, index: int) -> bool:
        """Whether the name of a column says that its times are in UTC."""
        return normalised(self.header[index]).endswith(_IN_UTC)

    def used(self) -> str:
        """Which column is read as which field, and which columns are not read, in one line."""
        indexes = self.columns._asdict()
        used = ", ".join(
            field if normalised(self.header[index]) == field else f"{field} = {self.header[index].strip()}"
            for field, index in indexes.items()
            if index is not None
        )
        ignored = [title.strip() for index, title in enumerate(self.header) if index not in indexes.values()]
        return f"{self.path}: {used}" + (f"; not read: {', '.join(ignored)}" if ignored else "")


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[^0-9a-z]+")


@lru_cache(maxsize=1_024)
def normalised(title: str) -> str:
    """A column name in lower case, its words joined by ``_``: ``Order ID`` and ``orderId`` are ``order_id``."""
    return _NO_WORD.sub("_", _CAMEL.sub("_", title.strip()).casefold()).strip("_")


def open_orders(path: Path, names: Mapping[str, str]) -> OrderFile:
    """Open a file of orders and find its columns. ``names`` holds the user's column names by field.

    Raises UserError if it cannot be read, a column is missing, or two columns have one name.
    """
    known = {*(name for each in NAMES.values() for name in each), *names.values()}
    header = read_header(path, known)
    return OrderFile(path, header, find_order_columns(header, names, str(path)))


def find_order_columns(header: Sequence[str], names: Mapping[str, str], file: str) -> OrderColumns:
    """The column of each field. Raises UserError that lists the existing columns and names the option to use."""
    titles = [normalised(title) for title in header]
    found = {field: _index(header, titles, names.get(field), field, file) for field in FIELDS}
    for field in ("promised", "preparation"):
        # One promise: seconds before minutes before an instant. Several columns of it would contradict each other.
        for better, worse in _pairs([f"{field}_seconds", f"{field}_minutes", field]):
            if found.get(better) is not None and worse in found and worse not in names:
                found[worse] = None
    for place in ("restaurant", "customer"):
        degrees = [f"{place}_latitude", f"{place}_longitude"]
        if all(found[each] is not None for each in degrees) and place not in names:
            found[place] = None
        elif found[place] is not None and not any(each in names for each in degrees):
            found |= dict.fromkeys(degrees)
    missing = list(_missing(found))
    if missing:
        raise UserError(
            f"{file} has no column for {', '.join(missing)}; it has {', '.join(title.strip() for title in header)}: "
            "name the right one with --column FIELD=NAME (`import-deliveries --help` lists the fields)"
        )
    return OrderColumns(**found)


def _pairs(fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((better, worse) for at, better in enumerate(fields) for worse in fields[at + 1 :])


def _missing(found: Mapping[str, int | None]) -> Iterator[str]:
    if found["order"] is None:
        yield "order"
    for place, both in _BOTH.items():
        if found[place] is None and (found[f"{place}_latitude"] is None or found[f"{place}_longitude"] is None):
            yield f"{place} (or {both})"
    if found["placed"] is None:
        yield "placed"
    if found["completed"] is None and found["cancelled"] is None:
        yield "completed"


def _index(header: Sequence[str], titles: Sequence[str], named: str | None, field: str, file: str) -> int | None:
    if named is not None:
        exact = [index for index, title in enumerate(header) if title.strip() == named.strip()]
        exact = exact or [index for index, title in enumerate(titles) if title == normalised(named)]
        if not exact:
            raise UserError(f"{file} has no column {named} for {field}; it has {', '.join(map(str.strip, header))}")
        return _one(exact, named, file)
    for name in NAMES[field]:
        if name in titles:
            return _one([index for index, title in enumerate(titles) if title == name], name, file)
    return None


def _one(indexes: Sequence[int], name: str, file: str) -> int:
    if len(indexes) > 1:
        raise UserError(f"{file} has {len(indexes)} columns named {name}: rename all but one of them")
    return indexes[0]
