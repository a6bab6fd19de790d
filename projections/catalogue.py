"""All projections: a new consumer of the log is one line here, its fold and its read model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from projections.analytics import ANALYTICS
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.locations import LOCATIONS
from projections.speed import SPEED

PROJECTIONS: dict[str, Projection[Any]] = {p.name: p for p in (SPEED, LOCATIONS, ANALYTICS)}

# Those of which single keys are read, so that what was answered can be held against the log.
POINT_READ: tuple[Projection[Any], ...] = (SPEED,)

WITHOUT_POINT_READ = tuple(name for name, projection in PROJECTIONS.items() if projection not in POINT_READ)
"""The others: who reads them asks a table or a topic."""

SHARED_WORKER = "others"


def worker_groups() -> dict[str, list[str]]:
    """Names of projections by the process that follows them: each that answers has one of its own.

    Threads of one process take turns at one core; what tables for analysts cost must not make answers late.
    """
    answering = {projection.name: [projection.name] for projection in POINT_READ}
    return answering | ({SHARED_WORKER: list(WITHOUT_POINT_READ)} if WITHOUT_POINT_READ else {})


def audited_in(names: Collection[str]) -> list[Projection[Any]]:
    """Projections whose answers are checked, all the time, by the process that follows ``names``.

    By one that answers nobody, if there is such a projection: to fold thousands of events again takes its time, and
    the answers are not to be late for being checked.
    """
    if WITHOUT_POINT_READ:
        return list(POINT_READ) if not set(WITHOUT_POINT_READ).isdisjoint(names) else []
    return [projection for projection in POINT_READ if projection.name in names]


# Now, while the sources are those that were just loaded.
DIGESTS = {name: fold_digest(projection) for name, projection in PROJECTIONS.items()}
