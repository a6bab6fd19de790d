"""Which process follows which projections, and which process audits the answers: a deployment policy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.traffic import TRAFFIC

ETA = "eta"
"""Name of the group of the projections with partial tables: an ETA reads their states, or the city merged from them."""

OTHERS = "others"
"""Name of the group of all other projections: their readers query a table or follow a topic."""


def point_read_projections() -> list[Projection[Any]]:
    """Projections whose single keys are read, so that each answer can be compared with the log."""
    return [projection for projection in PROJECTIONS.values() if projection.point_read]


def worker_groups() -> dict[str, list[str]]:
    """Names of projections by worker group; one process runs each group.

    Each projection with point reads has a process of its own, and so have those of the ETA together. Threads of one
    process share one core: the work for tables of analysts, of the fraud desk and of payments must not delay answers.
    """
    groups = {projection.name: [projection.name] for projection in point_read_projections()}
    shared = {ETA: _of_the_eta(), OTHERS: _others()}
    return groups | {name: names for name, names in shared.items() if names}


def audited_projections(followed: Collection[str]) -> list[Projection[Any]]:
    """Projections whose answers are audited, all the time, by the process that follows ``followed``.

    Audits run in the group that no answer waits for, if there is one, because refolding thousands of events would
    delay answers.
    """
    if _others():
        return point_read_projections() if _has_audits(followed) else []
    return [projection for projection in point_read_projections() if projection.name in followed]


def audits_city(followed: Collection[str]) -> bool:
    """Whether the process that follows ``followed`` audits the city snapshots."""
    return _has_audits(followed) if _others() else TRAFFIC.name in followed


def is_background(followed: Collection[str]) -> bool:
    """Whether no answer of a read or of an ETA waits for the process that follows ``followed``."""
    return set(followed) <= set(_others())


def _has_audits(followed: Collection[str]) -> bool:
    return not set(_others()).isdisjoint(followed)


def _of_the_eta() -> list[str]:
    return [name for name, projection in PROJECTIONS.items() if projection.partials is not None]


def _others() -> list[str]:
    grouped = {*_of_the_eta(), *(projection.name for projection in point_read_projections())}
    return [name for name in PROJECTIONS if name not in grouped]
