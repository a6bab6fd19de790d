"""The answers of ``/projections``: generations with what may be done to each, and the newest task."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import msgspec

from infrastructure.http.errors import ApiError
from infrastructure.observability.abandoned_tasks import is_abandoned
from infrastructure.postgres.projection_tasks import ProjectionTask, TaskKind, TaskState
from infrastructure.status.task_lines import task_detail
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.rebuild.generations import Generation, active

GenerationAction = Literal["switch", "accept", "roll-back", "drop"]
"""``accept``: a switch that needs the digest of the differences."""


class DifferenceItem(msgspec.Struct):
    """One key or row that differs from the served generation, in words."""

    shard: int
    name: str
    words: str


class GenerationItem(msgspec.Struct):
    """``served``: readers follow it. ``ours``: folded by the code of this server, which keeps it up to date.

    ``differences``, ``compared_with``, ``digest`` and ``examples`` (the first 20 differences): of the last comparison;
    null before there is one. ``actions``: what may be done to it now.
    """

    generation: int
    state: str
    served: bool
    fold_version: int
    ours: bool
    compared_with: int | None
    differences: int | None
    digest: str | None
    examples: list[DifferenceItem]
    actions: list[GenerationAction]


class TaskItem(msgspec.Struct):
    """A requested task. ``detail``: what it does now, or how it ended and what to do next.

    ``events_done``, ``events_total``: of the fill. ``seconds_left``: null while no rate is known. ``verdict``: of a
    comparison or a switch. ``notes``: the last lines of its process.
    """

    task: int
    kind: TaskKind
    state: str
    requested_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    detail: str
    events_done: int
    events_total: int
    events_per_s: float
    seconds_left: float | None
    verdict: str | None
    notes: list[str]


class ProjectionItem(msgspec.Struct):
    """A projection, its generations that are not dropped, and its newest task."""

    projection: str
    stream: str
    generations: list[GenerationItem]
    task: TaskItem | None


class ProjectionsAnswer(msgspec.Struct):
    """All projections, in the order of the catalogue. ``at_ms``: when they were read."""

    items: list[ProjectionItem]
    at_ms: int


def projection_item(
    projection: Projection[Any], generations: list[Generation], task: TaskItem | None
) -> ProjectionItem:
    """The projection as it is answered."""
    live = active(generations)
    items = [_generation(projection, one, live) for one in generations]
    return ProjectionItem(projection.name, projection.stream, items, task)


def actions_of(projection: Projection[Any], one: Generation, live: Generation | None) -> list[GenerationAction]:
    """What may be done to the generation. The task checks it again, under the lock of the rebuild."""
    if one.active or live is None:
        return []
    found: list[GenerationAction] = ["drop"]
    compared = (one.comparison or {}).get("live") == live.number
    if one.is_of(projection):
        if one.state == "following":
            found.insert(0, "roll-back")
        elif one.state == "ready" and compared:
            found.insert(0, "switch")
        elif one.state == "compared" and compared and _may_accept(one, live):
            found.insert(0, "accept")
    return found


def _may_accept(one: Generation, live: Generation) -> bool:
    # Code that was changed under the same version is no damage of the live generation, and cannot be accepted.
    return one.fold_version != live.fold_version or one.fold_digest == live.fold_digest


def task_item(task: ProjectionTask, at_ms: int, folds: Collection[str] = ()) -> TaskItem:
    """The task as it is answered. ``folds``: those of the running workers, for a request that waits."""
    progress, result = task.progress, task.result or {}
    return TaskItem(
        task.task,
        task.kind,
        TaskState.FAILED if is_abandoned(task) else task.state,
        task.requested_at_ms,
        task.started_at_ms,
        task.ended_at_ms,
        _detail(task, at_ms, folds),
        progress.events_done,
        progress.events_total,
        progress.events_per_s,
        progress.seconds_left if task.is_open else None,
        result.get("verdict"),
        progress.notes,
    )


def _detail(task: ProjectionTask, at_ms: int, folds: Collection[str]) -> str:
    return task_detail(task, at_ms, folds) if task.result is None else str(task.result.get("detail", ""))


def _generation(projection: Projection[Any], one: Generation, live: Generation | None) -> GenerationItem:
    found = one.comparison or {}
    examples = [DifferenceItem(e["shard"], e["name"], e["words"]) for e in found.get("examples", [])]
    return GenerationItem(
        one.number,
        one.state,
        one.active,
        one.fold_version,
        one.is_of(projection),
        found.get("live"),
        found.get("differing"),
        found.get("digest") or None,
        examples,
        actions_of(projection, one, live),
    )


def catalogued(name: str) -> Projection[Any]:
    """The projection of the catalogue. Raises ApiError 404."""
    found = PROJECTIONS.get(name)
    if found is None:
        raise ApiError(404, "unknown_projection", f"the projections are {', '.join(PROJECTIONS)}")
    return found
