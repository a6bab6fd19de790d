"""The tariff: prices of given quantities, the one rounding rule, minor units, weeks and ids."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.deliveries.values import CURRENCIES, time_zones
from domain.features.legs import LEGS
from domain.features.payouts.currencies import major_text, minor_digits
from domain.features.payouts.ids import adjustment_id, completed_id, uuid5_bytes, uuid_text
from domain.features.payouts.packaged import PATH, packaged_tariff, packaged_zone
from domain.features.payouts.periods import period_name, week_named, week_of
from domain.features.payouts.tariff import (
    LegQuantities,
    Tariff,
    TariffVersion,
    completed_price,
    otherwise_price,
    rounded,
    total,
)
from domain.features.payouts.tariff_times import check_times
from domain.riders.periods import period_of

SHIPPED: dict[str, Any] = json.loads(PATH.read_text())


def version(**changes: Any) -> TariffVersion:
    """The first version of the shipped tariff, with other members."""
    data = copy.deepcopy(SHIPPED)
    data["versions"][0] |= changes
    return Tariff.from_json(json.dumps(data)).versions[0]


def price(currency: str, mm: int, waited_ms: int = 0, *, night: bool = False, leg: str = "to_customer") -> int:
    return total(completed_price(version(), currency, leg, LegQuantities(mm, waited_ms), night=night))


@pytest.mark.parametrize(
    ("currency", "mm", "waited_ms", "night", "expected"),
    [
        ("EUR", 0, 0, False, 240),
        ("EUR", 3_120_000, 0, False, 240 + 172),  # 171.6
        ("EUR", 0, 300_000, False, 240),
        ("EUR", 0, 301_667, False, 240 + 1),  # 0.5001
        ("EUR", 0, 301_666, False, 240),  # 0.4998
        ("EUR", 1_000_000, 360_000, False, 240 + 55 + 18),
        ("EUR", 1_000_000, 360_000, True, 313 + 78),  # 78.25
        ("EUR", 0, 0, True, 300),
        ("JPY", 1_000_000, 0, False, 240 + 55),
        ("JPY", 9_091, 0, False, 240 + 1),  # 0.500005
        ("KWD", 1_000_000, 0, False, 400 + 95),
        ("KWD", 5_263, 0, False, 400),  # 0.499985
        ("ISK", 1_000_000, 0, False, 0),
        ("", 1_000_000, 0, False, 0),
    ],
)
def test_prices(currency: str, mm: int, waited_ms: int, night: bool, expected: int) -> None:
    assert price(currency, mm, waited_ms, night=night) == expected


def test_a_half_is_rounded_upwards() -> None:
    assert [rounded(n, 2) for n in (0, 1, 2, 3, 5)] == [0, 1, 1, 2, 3]


@given(st.integers(0, 10**15), st.integers(1, 10**12))
def test_rounding_is_to_the_nearest(numerator: int, denominator: int) -> None:
    off = rounded(numerator, denominator) - Fraction(numerator, denominator)
    assert -Fraction(1, 2) < off <= Fraction(1, 2)


@given(st.sampled_from(sorted(SHIPPED["versions"][0]["currencies"])), st.integers(0, 10**9), st.integers(0, 10**8))
def test_more_metres_and_more_waiting_are_never_less_pay(currency: str, mm: int, more: int) -> None:
    for night in (False, True):
        assert price(currency, mm, night=night) <= price(currency, mm + more, night=night)
        assert price(currency, 0, mm, night=night) <= price(currency, 0, mm + more, night=night)


def test_a_leg_that_ended_otherwise_has_its_own_item() -> None:
    assert otherwise_price(version(), "EUR") == ()
    rates = SHIPPED["versions"][0]["currencies"]["EUR"] | {"ended_otherwise": "0.80"}
    (item,) = otherwise_price(version(currencies={"EUR": rates}), "EUR")
    assert (item.item, item.amount_minor, item.rate) == ("ended_otherwise", 80, "0.80")


def test_the_version_is_that_of_the_end_of_the_leg() -> None:
    data = copy.deepcopy(SHIPPED)
    data["versions"].append(data["versions"][0] | {"version": 2, "from": "2026-12-01T00:00:00Z"})
    tariff = Tariff.from_json(json.dumps(data))
    start = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000
    assert [tariff.at(t).version for t in (0, start - 1, start, start + 1)] == [1, 1, 2, 2]
    assert tariff.digest != packaged_tariff().digest


def test_a_night_may_pass_midnight_or_not() -> None:
    assert [h for h in range(24) if version().is_night(h)] == [0, 1, 2, 3, 4, 5, 22, 23]
    day = version(night={"from_hour": 9, "until_hour": 11, "permille": 1_100})
    assert [h for h in range(24) if day.is_night(h)] == [9, 10]
    assert not version().is_night(None)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": True},
        {"from": "soon"},
        {"waiting_free_s": -1},
        {"night": {"from_hour": 24, "until_hour": 6, "permille": 1250}},
        {"night": {"from_hour": 22, "until_hour": 6, "permille": 999}},
        {"currencies": {"EUR": {"to_restaurant": "1"}}},
        *(
            {"currencies": {"EUR": SHIPPED["versions"][0]["currencies"]["EUR"] | {"to_customer": text}}}
            for text in ("-1", "1.234", "1e3", "", "x", "١", 1.5, "9" * 30)
        ),
    ],
    ids=str,
)
def test_a_tariff_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        version(**changes)


@pytest.mark.parametrize("start", ["2026-12-07", "2026-12-07T00:00:00", "2026-12-07 00:00"])
def test_regression_a_version_that_begins_at_a_time_without_a_zone_is_refused(start: str) -> None:
    """Each machine read it in its own time zone: two nodes paid one leg by two versions, under one digest."""
    data = copy.deepcopy(SHIPPED)
    data["versions"].append(data["versions"][0] | {"version": 2, "from": start})
    with pytest.raises(ValueError, match=r"version 2 of the tariff begins at .* names no time zone"):
        check_times(json.dumps(data))


def test_a_version_may_begin_at_a_time_of_any_zone_that_it_names() -> None:
    data = copy.deepcopy(SHIPPED)
    data["versions"].append(data["versions"][0] | {"version": 2, "from": "2026-12-07T00:00:00+01:00"})
    check_times(json.dumps(data))
    assert Tariff.from_json(json.dumps(data)).versions[1].from_ms == 1_796_598_000_000


def test_versions_ascend() -> None:
    data = copy.deepcopy(SHIPPED)
    data["versions"] *= 2
    with pytest.raises(ValueError, match="ascend"):
        Tariff.from_json(json.dumps(data))


def test_the_shipped_tariff_has_currencies_that_orders_may_have() -> None:
    assert packaged_tariff().versions[0].currencies.keys() <= CURRENCIES
    assert all(set(LEGS) <= rates.base_minor.keys() for rates in packaged_tariff().versions[0].currencies.values())


def test_minor_units_of_iso_4217() -> None:
    digits = {code: minor_digits(code) for code in CURRENCIES}
    assert {code for code, found in digits.items() if found == 3} == {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert {code for code, found in digits.items() if found == 4} == {"CLF", "UYW"}
    assert (digits["EUR"], digits["JPY"], digits["ISK"], digits["HUF"]) == (2, 0, 0, 2)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(1234, "EUR", "12.34"), (-5, "EUR", "-0.05"), (0, "EUR", "0.00"), (-5, "KWD", "-0.005"), (7, "JPY", "7")],
)
def test_amounts_as_text(minor: int, currency: str, text: str) -> None:
    assert major_text(minor, currency) == text


@given(st.integers(946_684_800_000, 4_070_908_800_000))
def test_weeks_are_those_of_the_calendar(t_ms: int) -> None:
    name = period_name(week_of(t_ms))
    assert name == period_of(t_ms)
    assert week_named(name) == week_of(t_ms)


@pytest.mark.parametrize("period", ["2026-W54", "2026-48", "2026-W4", "W48", "2026-W00", "x-Wy", "٢٠٢٦-W48"])
def test_other_texts_are_no_period(period: str) -> None:
    with pytest.raises(ValueError):
        week_named(period)


@given(st.uuids(), st.text())
def test_ids_are_those_of_the_standard(namespace: UUID, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    assert uuid_text(uuid5_bytes(namespace.bytes, name)) == str(uuid5(namespace, name))


def test_an_adjustment_is_named_after_its_payout_and_its_event() -> None:
    payout = completed_id("order-7", "to_customer")
    event = "0b7e9d1c-3f6a-4f0e-8f65-000000000001"
    assert uuid_text(adjustment_id(payout, event)) == str(uuid5(UUID(bytes=payout), event))
    assert completed_id("order-7", "to_restaurant") != payout


def test_time_zones_are_those_of_the_package() -> None:
    assert packaged_zone("Europe/Berlin") is not None
    for strange in ("", "Nowhere", "../../etc/passwd", "/etc/passwd", "Europe"):
        assert packaged_zone(strange) is None
    assert all(packaged_zone(name) is not None for name in time_zones())
