"""Which projections raise alerts: `spoofing`, and every other one with a table of cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from read_models.fraud.queries import CaseSource
from read_models.fraud.tables import CASE_COLUMNS, NAME, fraud_alerts


def case_sources(projections: Mapping[str, Projection[Any]] = PROJECTIONS) -> list[CaseSource]:
    """The tables of cases of all projections."""
    others = [source for each in projections.values() if (source := case_source(each)) is not None]
    return [CaseSource(NAME, fraud_alerts), *(source for source in others if source.projection != NAME)]


def case_source(projection: Projection[Any]) -> CaseSource | None:
    """The projection's table of cases; None if it raises no alerts."""
    tables = [each.table for each in projection.tables if each.latest == CASE_COLUMNS]
    return CaseSource(projection.name, tables[0]) if tables else None
