"""The queries of ``analytics.queries`` on rows in memory: no table has the rows of a past instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from read_models.analytics.rows import HOUR_MAXIMA, HOUR_SUMS, MINUTE_SUMS
from read_models.rows import RowChange

Row = dict[str, Any]


class AnalyticsRows:
    """All rows as of an instant, merged. Results are the rows that the SQL statements give, in the same order."""

    def __init__(self, rows: Iterable[RowChange]) -> None:
        self._hours: dict[str, dict[datetime, RowChange]] = defaultdict(dict)
        self._minutes: dict[datetime, RowChange] = {}
        for row in rows:
            if row.table == "rider_hours":
                rider_id, hour = row.key
                self._hours[rider_id][hour] = row
            else:
                self._minutes[row.key[0]] = row

    def riders(
        self, since: datetime, until: datetime, above_mps: float | None, after: str | None, limit: int
    ) -> list[Row]:
        found: list[Row] = []
        for rider_id in sorted(self._hours):
            hours = [row for hour, row in self._hours[rider_id].items() if since <= hour < until]
            if not hours or (after is not None and rider_id <= after):
                continue
            sums = {name: sum(row.add[i] for row in hours) for i, name in enumerate(HOUR_SUMS)}
            if above_mps is not None and not sums["moving_mm"] > above_mps * sums["moving_ms"]:
                continue
            maxima = [row.latest for row in hours if row.latest is not None]
            highest = {name: max((m[i] for m in maxima), default=None) for i, name in enumerate(HOUR_MAXIMA)}
            found.append({"rider_id": rider_id, **sums, **highest})
            if len(found) == limit:
                break
        return found

    def hours_of(
        self, rider_id: str, since: datetime | None, until: datetime | None, after: datetime | None, limit: int
    ) -> list[Row]:
        def wanted(hour: datetime) -> bool:
            return (
                (since is None or hour >= since) and (until is None or hour < until) and (after is None or hour > after)
            )

        hours = self._hours.get(rider_id, {})
        return [_hour(hour, hours[hour]) for hour in sorted(filter(wanted, hours))[:limit]]

    def latest_hour_of(self, rider_id: str) -> datetime | None:
        return max(self._hours.get(rider_id, {}), default=None)

    def fleet(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]:
        minutes = sorted(m for m in self._minutes if since <= m < until and (after is None or m > after))
        return [
            {"minute": minute, **dict(zip(MINUTE_SUMS, self._minutes[minute].add, strict=True))}
            for minute in minutes[:limit]
        ]


def _hour(hour: datetime, row: RowChange) -> Row:
    maxima = row.latest if row.latest is not None else (None,) * len(HOUR_MAXIMA)
    return {"hour": hour, **dict(zip((*HOUR_SUMS, *HOUR_MAXIMA), (*row.add, *maxima), strict=True))}
