"""The tariff: what a leg is paid, in whole minor units of its currency. Versioned data, in ``tariff.json``.

Rounding, for every item: once, from the exact fraction to the nearest minor unit, a half upwards. The night item is
computed from the rounded items before it. So the amount is the sum of its items.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from json import dumps, loads
from typing import Any, NamedTuple

from domain.features.legs import LEGS
from domain.features.payouts.currencies import minor_digits

RATE_DIGITS = 6
"""Rates are kept in millionths of a minor unit, as integers."""
_RATE = 10**RATE_DIGITS
_MM_PER_KM = 1_000_000
_MS_PER_MINUTE = 60_000
MAX_MINOR = 1_000_000_000
"""Bounds every amount of the tariff: no sum of a leg comes near 64 bits."""


class CurrencyRates(NamedTuple):
    """The rates of one currency. Base and ``ended_otherwise_minor`` in minor units; the others in millionths of them.

    ``texts`` has the rates as the file gives them, by item.
    """

    base_minor: Mapping[str, int]
    per_km: int
    waiting_per_minute: int
    ended_otherwise_minor: int
    texts: Mapping[str, str]


class TariffVersion(NamedTuple):
    """One version; ``from_ms`` is the first end of a leg that it prices, in epoch milliseconds.

    The night lasts from ``night_from_hour`` until before ``night_until_hour`` of the city's local time; the permille
    applies to the sum of all other items, 1000 is no night factor.
    """

    version: int
    from_ms: int
    waiting_free_ms: int
    night_from_hour: int
    night_until_hour: int
    night_permille: int
    currencies: Mapping[str, CurrencyRates]

    def is_night(self, local_hour: int | None) -> bool:
        """``local_hour``: 0 to 23 at the end of the leg; None if the time zone is unknown, which is no night."""
        if local_hour is None:
            return False
        start, end = self.night_from_hour, self.night_until_hour
        return start <= local_hour < end if start <= end else local_hour >= start or local_hour < end


class LegQuantities(NamedTuple):
    """What is measured on a leg: its share of the millimetres ridden, and of the milliseconds waited."""

    mm: int
    waited_ms: int


class PriceItem(NamedTuple):
    """One item of a price: so much of ``quantity`` (in ``unit``) at ``rate`` gives ``amount_minor``."""

    item: str
    quantity: int
    unit: str
    rate: str
    amount_minor: int


class Tariff:
    """All versions. ``digest`` covers all of their data: it is part of the fold's digest (invariant 9).

    ``mark``: its first 8 bytes, which are in each state.
    """

    def __init__(self, versions: tuple[TariffVersion, ...], digest: str) -> None:
        """Raises ValueError if versions or their times do not ascend."""
        numbers, starts = [v.version for v in versions], [v.from_ms for v in versions]
        if not versions or numbers != sorted(set(numbers)) or starts != sorted(set(starts)) or numbers[0] < 1:
            raise ValueError("the versions of a tariff ascend from 1, and so do their times")
        self.versions = versions
        self.digest = digest
        self.mark = bytes.fromhex(digest[:16])

    @classmethod
    def from_json(cls, text: str) -> Tariff:
        """Raises ValueError for a file that is no tariff."""
        data = loads(text)
        try:
            versions = tuple([_version(each) for each in data["versions"]])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a member of the tariff is missing or of another type: {error!r}") from error
        canonical = dumps(data["versions"], sort_keys=True, separators=(",", ":"))
        return cls(versions, sha256(canonical.encode()).hexdigest())

    def at(self, ended_ms: int) -> TariffVersion:
        """The version that prices a leg by its end, in epoch milliseconds; before all of them the first."""
        found = self.versions[0]
        for version in self.versions[1:]:
            if version.from_ms <= ended_ms:
                found = version
        return found


def completed_price(
    version: TariffVersion, currency: str, leg: str, quantities: LegQuantities, *, night: bool
) -> tuple[PriceItem, ...]:
    """The items of a leg that ended ``completed``; none if the tariff has no rates for the currency."""
    rates = version.currencies.get(currency)
    if rates is None:
        return ()
    mm, waited_ms = quantities
    beyond_ms = max(0, waited_ms - version.waiting_free_ms)
    texts = rates.texts
    items = [
        PriceItem("base", 1, "leg", texts[leg], rates.base_minor[leg]),
        PriceItem("metres", mm, "mm", f"{texts['per_km']}/km", rounded(mm * rates.per_km, _MM_PER_KM * _RATE)),
        PriceItem(
            "waiting",
            beyond_ms,
            "ms",
            f"{texts['waiting_per_minute']}/min",
            rounded(beyond_ms * rates.waiting_per_minute, _MS_PER_MINUTE * _RATE),
        ),
    ]
    if night:
        subtotal = sum(item.amount_minor for item in items)
        permille = version.night_permille
        added = rounded(subtotal * (permille - 1_000), 1_000)
        items.append(PriceItem("night", subtotal, "minor", f"{permille - 1_000}/1000", added))
    return tuple(items)


def otherwise_price(version: TariffVersion, currency: str) -> tuple[PriceItem, ...]:
    """The item of a leg that ended otherwise; none if it is 0, or if there are no rates for the currency."""
    rates = version.currencies.get(currency)
    if rates is None or not rates.ended_otherwise_minor:
        return ()
    return (PriceItem("ended_otherwise", 1, "leg", rates.texts["ended_otherwise"], rates.ended_otherwise_minor),)


def total(items: tuple[PriceItem, ...]) -> int:
    """The amount in minor units."""
    return sum([item.amount_minor for item in items])


def rounded(numerator: int, denominator: int) -> int:
    """The nearest integer to a fraction that is not negative, a half upwards. The one rounding rule of the tariff."""
    return (2 * numerator + denominator) // (2 * denominator)


def _version(data: Mapping[str, Any]) -> TariffVersion:
    night = data["night"]
    hours = (_whole(night["from_hour"], 0, 23), _whole(night["until_hour"], 0, 24))
    return TariffVersion(
        _whole(data["version"], 1, 0xFFFF),
        int(datetime.fromisoformat(data["from"]).timestamp()) * 1_000,
        _whole(data["waiting_free_s"], 0, 86_400) * 1_000,
        *hours,
        _whole(night["permille"], 1_000, 10_000),
        {currency: _rates(currency, rates) for currency, rates in data["currencies"].items()},
    )


def _rates(currency: str, data: Mapping[str, str]) -> CurrencyRates:
    digits = minor_digits(currency)
    return CurrencyRates(
        {leg: _decimal(data[leg], digits) for leg in LEGS},
        _decimal(data["per_km"], digits + RATE_DIGITS),
        _decimal(data["waiting_per_minute"], digits + RATE_DIGITS),
        _decimal(data["ended_otherwise"], digits),
        dict(data),
    )


def _decimal(text: str, digits: int) -> int:
    """A decimal text in units of 10^-digits, exactly. Raises ValueError for more digits, a sign or another text."""
    whole, _, part = text.partition(".")
    if not (whole + part).isdecimal() or not (whole + part).isascii() or len(part) > digits:
        raise ValueError(f"{text[:40]!r} is no amount of at most {digits} decimals")
    number: int = int(whole + part) * 10 ** (digits - len(part))
    if number > MAX_MINOR * _RATE:
        raise ValueError(f"{text[:40]!r} is more than any pay")
    return number


def _whole(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r} is no integer from {least} to {most}")
    return value
