"""All projections. A new consumer of the log is one line here, its fold and its read model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from projections.analytics import ANALYTICS
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.locations import LOCATIONS
from projections.speed import SPEED

PROJECTIONS: dict[str, Projection[Any]] = {p.name: p for p in (SPEED, LOCATIONS, ANALYTICS)}

POINT_READ: tuple[Projection[Any], ...] = (SPEED,)
"""Projections with point reads: clients read single keys, so each answer can be compared with the log."""

WITHOUT_POINT_READ = tuple(name for name, projection in PROJECTIONS.items() if projection not in POINT_READ)
"""Names of the other projections, which are read as a table or a topic."""

SHARED_WORKER = "others"
"""Name of the process that follows all projections without point reads."""


def worker_groups() -> dict[str, list[str]]:
    """Names of projections by the process that follows them.

    Each projection with point reads has a process of its own. Threads of one process share one core, so the cost of
    tables for analysts would delay the answers.
    """
    point_read = {projection.name: [projection.name] for projection in POINT_READ}
    return point_read | ({SHARED_WORKER: list(WITHOUT_POINT_READ)} if WITHOUT_POINT_READ else {})


def audited_in(names: Collection[str]) -> list[Projection[Any]]:
    """Projections whose answers are audited continuously by the process that follows ``names``.

    Audits run in the process without point reads if there is one, because refolding thousands of events would delay
    answers.
    """
    if WITHOUT_POINT_READ:
        return list(POINT_READ) if not set(WITHOUT_POINT_READ).isdisjoint(names) else []
    return [projection for projection in POINT_READ if projection.name in names]


# Computed at import, while the source files are still those that were just loaded.
DIGESTS = {name: fold_digest(projection) for name, projection in PROJECTIONS.items()}
