"""Which process follows which projections, and which process audits the answers: a deployment policy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.traffic import TRAFFIC

OTHERS = "others"
"""Name of the group of all projections without point reads: their readers query a table or follow a topic."""


def point_read_projections() -> list[Projection[Any]]:
    """Projections whose single keys are read, so that each answer can be compared with the log."""
    return [projection for projection in PROJECTIONS.values() if projection.point_read]


def worker_groups() -> dict[str, list[str]]:
    """Names of projections by worker group; one process runs each group.

    Each projection with point reads has a process of its own. Threads of one process share one core: the work for
    analysts' tables must not delay answers.
    """
    groups = {projection.name: [projection.name] for projection in point_read_projections()}
    others = _without_point_reads()
    return groups | ({OTHERS: others} if others else {})


def audited_projections(followed: Collection[str]) -> list[Projection[Any]]:
    """Projections whose answers are audited, all the time, by the process that follows ``followed``.

    Audits run in the group without point reads if there is one, because refolding thousands of events would delay
    answers.
    """
    others = _without_point_reads()
    if others:
        return [] if set(others).isdisjoint(followed) else point_read_projections()
    return [projection for projection in point_read_projections() if projection.name in followed]


def audits_city(followed: Collection[str]) -> bool:
    """Whether the process that follows ``followed`` audits the city snapshots."""
    return TRAFFIC.name in followed


def _without_point_reads() -> list[str]:
    return [name for name, projection in PROJECTIONS.items() if not projection.point_read]
