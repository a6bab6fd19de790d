"""The queries of ``outcomes.queries`` on rows in memory: no table has the rows of a past instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import add
from typing import Any

from domain.features.outcomes.sums import OutcomeSums
from read_models.outcomes.rows import SUMS
from read_models.rows import RowChange

Row = dict[str, Any]
_Hours = dict[datetime, tuple[int, ...]]


class OutcomeRows:
    """All rows as of an instant, merged. Results are the rows that the SQL statements give, in the same order."""

    def __init__(self, rows: Iterable[RowChange]) -> None:
        self._hours: _Hours = {}
        self._places: defaultdict[str, _Hours] = defaultdict(dict)
        self._riders: defaultdict[str, _Hours] = defaultdict(dict)
        for row in rows:
            if row.table == "outcome_hours":
                self._hours[row.key[0]] = row.add
            else:
                of_key = self._places if row.table == "outcome_places" else self._riders
                of_key[row.key[0]][row.key[1]] = row.add

    def hours(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]:
        wanted = sorted(hour for hour in self._hours if since <= hour < until and (after is None or hour > after))
        found = ({"hour": hour, **_named(self._hours[hour])} for hour in wanted)
        return [row for row in found if _counted(row)][:limit]

    def places(self, since: datetime, until: datetime, place: str | None, after: str | None, limit: int) -> list[Row]:
        return _by_key("place", self._places, (since, until), place, after)[:limit]

    def riders(
        self, since: datetime, until: datetime, rider_id: str | None, after: str | None, limit: int
    ) -> list[Row]:
        return _by_key("rider_id", self._riders, (since, until), rider_id, after)[:limit]


def _by_key(
    name: str,
    rows: Mapping[str, _Hours],
    span: tuple[datetime, datetime],
    wanted: str | None,
    after: str | None,
) -> list[Row]:
    found: list[Row] = []
    for key in sorted(rows):
        if (wanted is not None and key != wanted) or (after is not None and key <= after):
            continue
        sums: tuple[int, ...] = OutcomeSums()
        for hour, of_hour in rows[key].items():
            if span[0] <= hour < span[1]:
                sums = tuple(map(add, sums, of_hour))
        found.append({name: key, **_named(sums)})
    return [row for row in found if _counted(row)]


def _named(sums: tuple[int, ...]) -> Row:
    return dict(zip(SUMS, sums, strict=True))


def _counted(row: Row) -> bool:
    return bool(row["completed"] + row["cancelled"] + row["unassigned"])
