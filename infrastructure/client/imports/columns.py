"""Which column of a file holds what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from infrastructure.user_error import UserError

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "rider": ("rider_id", "rider"),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "time": ("event_timestamp_ms",),
}
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy_meters",),
    "speed": ("speed_mps",),
    "event-id": ("event_id",),
    # No usual name: who did not ask for history must not get it for a column that happens to be there.
    "recorded-at": (),
}


class Columns(NamedTuple):
    """Index of each column in a row; None: the file has no such column."""

    rider: int
    latitude: int
    longitude: int
    time: int
    accuracy: int | None = None
    speed: int | None = None
    event_id: int | None = None
    recorded_at: int | None = None


def known_names(names: Mapping[str, str | None]) -> set[str]:
    """What the columns may be called: the usual names, and what the user named."""
    usual = {name for each in (*REQUIRED.values(), *OPTIONAL.values()) for name in each}
    return usual | {name for name in names.values() if name}


def find_columns(header: Sequence[str], names: Mapping[str, str | None], file: str) -> Columns:
    """The columns of ``file``. ``names`` holds what the user named, by the keys of REQUIRED and OPTIONAL.

    Raises UserError naming the columns that are there and the option to use.
    """
    titles = [title.strip() for title in header]
    found = {
        what: _index(titles, _wanted(names, what, usual), file) for what, usual in {**REQUIRED, **OPTIONAL}.items()
    }
    missing = [what for what, index in found.items() if index is None and (what in REQUIRED or names.get(what))]
    if missing:
        wanted = ", ".join(" or ".join(_wanted(names, what, {**REQUIRED, **OPTIONAL}[what])) for what in missing)
        options = ", ".join("--recorded-at" if what == "recorded-at" else f"--{what}-column" for what in missing)
        raise UserError(f"{file} has no column {wanted}; it has {', '.join(titles)}: name the right one with {options}")
    rider, latitude, longitude, time, *optional = found.values()
    assert rider is not None
    assert latitude is not None
    assert longitude is not None
    assert time is not None
    return Columns(rider, latitude, longitude, time, *optional)


def _wanted(names: Mapping[str, str | None], what: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    named = names.get(what)
    return (named,) if named else usual


def _index(titles: Sequence[str], wanted: tuple[str, ...], file: str) -> int | None:
    for name in wanted:
        if titles.count(name) > 1:
            raise UserError(f"{file} has {titles.count(name)} columns {name}: which one is meant cannot be known")
        if name in titles:
            return titles.index(name)
    return None
