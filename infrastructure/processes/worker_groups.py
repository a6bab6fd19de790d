"""Which process follows which projections, and which process audits the answers: a deployment policy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection

ETA = "eta"
"""Name of the group of the projections with partial tables: an ETA reads their states, or the city merged from them."""

OTHERS = "others"
"""Name of the group of all other projections: their readers query a table or follow a topic."""


def point_read_projections() -> list[Projection[Any]]:
    """Projections whose single keys are read, so that each answer can be compared with the log."""
    return [projection for projection in PROJECTIONS.values() if projection.point_read]


def served_projections(settings: Settings) -> list[str]:
    """Names of the projections that ``serve`` follows itself, in the order of the catalogue; Flink follows the others.

    Raises UserError for a name that the catalogue does not have.
    """
    if settings.projections is None:
        return list(PROJECTIONS)
    named = {name for part in settings.projections.split(",") if (name := part.strip())}
    if not named or not named <= set(PROJECTIONS):
        raise UserError(
            f"RIDELOG_PROJECTIONS is {settings.projections!r}: name one or more of {', '.join(PROJECTIONS)}, separated "
            "by commas; to follow none here, run `serve --only api,tailer,city,payments`"
        )
    return [name for name in PROJECTIONS if name in named]


def worker_groups(served: Collection[str] = tuple(PROJECTIONS)) -> dict[str, list[str]]:
    """Names of the ``served`` projections by worker group; one process runs each group.

    Each projection with point reads has a process of its own, and so have those of the ETA together. Threads of one
    process share one core: the work for tables of analysts, of the fraud desk and of payments must not delay answers.
    """
    groups = {projection.name: [projection.name] for projection in point_read_projections()}
    shared = {ETA: _of_the_eta(), OTHERS: _others()}
    wanted = {name: [one for one in names if one in served] for name, names in (groups | shared).items()}
    return {name: names for name, names in wanted.items() if names}


def audited_projections(
    followed: Collection[str], served: Collection[str] = tuple(PROJECTIONS)
) -> list[Projection[Any]]:
    """Projections whose answers are audited, all the time, by the process that follows ``followed`` of the ``served``.

    Audits run in the group that no answer waits for, if there is one, because refolding thousands of events would
    delay answers. They compare answers with the log, whichever engine has folded them.
    """
    return point_read_projections() if audits_city(followed, served) else []


def audits_city(followed: Collection[str], served: Collection[str] = tuple(PROJECTIONS)) -> bool:
    """Whether the process that follows ``followed`` of the ``served`` audits answers and city snapshots."""
    groups = worker_groups(served)
    auditing = groups.get(OTHERS) or next(reversed(groups.values()))
    return not set(auditing).isdisjoint(followed)


def is_background(followed: Collection[str]) -> bool:
    """Whether no answer of a read or of an ETA waits for the process that follows ``followed``."""
    return set(followed) <= set(_others())


def _of_the_eta() -> list[str]:
    return [name for name, projection in PROJECTIONS.items() if projection.partials is not None]


def _others() -> list[str]:
    grouped = {*_of_the_eta(), *(projection.name for projection in point_read_projections())}
    return [name for name in PROJECTIONS if name not in grouped]
