"""The tariff that ships with the code, and the time zones of the package tzdata."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

from domain.features.payouts.tariff import Tariff

PATH = Path(__file__).with_name("tariff.json")


@cache
def packaged_tariff() -> Tariff:
    """Read once a process. Raises ValueError for a tariff that contradicts itself, OSError for a missing file."""
    return Tariff.from_json(PATH.read_text(encoding="utf-8"))


@cache
def _names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache
def packaged_zone(name: str) -> ZoneInfo | None:
    """The zone of an IANA name, from the package tzdata: the same on every machine. None: there is no such zone."""
    if name not in _names():
        return None
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
