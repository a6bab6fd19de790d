"""Reads the generations of projections, and records what a person asks to be done to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from infrastructure.http.errors import ApiError, unavailable_as
from infrastructure.http.projection_answers import (
    GenerationAction,
    ProjectionsAnswer,
    TaskItem,
    actions_of,
    catalogued,
    projection_item,
    task_item,
)
from infrastructure.observability.abandoned_tasks import close_abandoned
from infrastructure.observability.stage_reports import read_stages
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.projection_tasks import ProjectionTasks, TaskIsOpen, TaskKind
from infrastructure.status.task_lines import is_late, running_folds
from infrastructure.timestamps import now_ms
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.rebuild.generations import Generation, active

_NEEDED: Mapping[TaskKind, tuple[GenerationAction, ...]] = {
    "switch": ("switch", "accept"),
    "roll-back": ("roll-back",),
    "drop": ("drop",),
}
"""What must be allowed for the generation that a task names. A rebuild names none."""


class ProjectionDesk:
    """Blocks: call it in a thread. Every method raises ApiError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._generations = PostgresGenerations(engine)
        self._tasks = ProjectionTasks(engine)

    def all(self) -> ProjectionsAnswer:
        """Every projection of the catalogue. Raises ApiError 503."""
        with unavailable_as("projections_unavailable"):
            generations, tasks = self._generations.all_by_projection(), self._tasks.latest()
            at_ms = now_ms()
            folds = self._running_folds() if any(is_late(task, at_ms) for task in tasks.values()) else set()
        answered = {name: task_item(task, at_ms, folds) for name, task in tasks.items()}
        items = [
            projection_item(one, generations.get(name, []), answered.get(name)) for name, one in PROJECTIONS.items()
        ]
        return ProjectionsAnswer(items, at_ms)

    def request(self, name: str, kind: TaskKind, options: Mapping[str, Any]) -> TaskItem:
        """Record a task. Raises ApiError 404, 409, 503."""
        projection = catalogued(name)
        with unavailable_as("projections_unavailable"):
            if kind in _NEEDED:
                self._check_generation(projection, kind, options)
            close_abandoned(self._tasks, self._generations)
            try:
                return task_item(self._tasks.request(projection, kind, options), now_ms())
            except TaskIsOpen as error:
                raise ApiError(
                    409, "task_open", f"{name} has a task already: wait for it, or cancel it; GET /projections shows it"
                ) from error

    def cancel(self, name: str, number: int) -> TaskItem:
        """Ask for the end of the open task. Raises ApiError 404, 409, 503."""
        catalogued(name)
        with unavailable_as("projections_unavailable"):
            task = self._tasks.one(number)
            if task is None or task.projection != name:
                raise ApiError(404, "unknown_task", f"{name} has no task {number}: GET /projections shows the newest")
            is_cancelled = self._tasks.cancel(number)
            after = self._tasks.one(number) or task
            if not is_cancelled and not after.is_open:
                raise ApiError(409, "task_ended", f"task {number} has ended: {after.state}")
            if not is_cancelled:
                raise ApiError(
                    409,
                    "not_cancellable",
                    f"a {task.kind} that has started is not cancelled, as readers or content may have changed already; "
                    "wait for its end",
                )
            return task_item(after, now_ms())

    def _running_folds(self) -> set[str]:
        with unavailable_as_port_error():
            return running_folds(read_stages(self._engine))

    def _check_generation(self, projection: Projection[Any], kind: TaskKind, options: Mapping[str, Any]) -> None:
        """Refuse what the task would refuse: a person learns at once that the list has changed meanwhile."""
        found, number = self._generations.all(projection.name), options["generation"]
        one = next((each for each in found if each.number == number), None)
        if one is None:
            if kind == "drop" and self._generations.is_dropped(projection.name, number):
                return  # the task deletes what an aborted drop has left
            raise ApiError(
                404, "unknown_generation", f"{projection.name} has no generation {number}; read the list again"
            )
        allowed = actions_of(projection, one, active(found))
        if not set(allowed) & set(_NEEDED[kind]):
            raise ApiError(409, "wrong_state", _refusal(projection, one, kind))
        if kind == "switch" and "accept" in allowed and options.get("digest") != (one.comparison or {}).get("digest"):
            raise ApiError(
                409,
                "differences_not_accepted",
                f"generation {number} differs from the served one: read its differences, and send their digest if "
                "they are meant",
            )


def _refusal(projection: Projection[Any], one: Generation, kind: TaskKind) -> str:
    name = f"generation {one.number} of {projection.name}"
    if one.active:
        return f"readers follow {name}; nothing can be done to it while they do"
    if not one.is_of(projection):
        return f"{name} was folded by other code (fold version {one.fold_version}): deploy that code for a {kind}"
    if kind == "switch":
        return f"{name} is {one.state}, or was compared with another generation than the served one: rebuild first"
    return f"{name} is {one.state}: only one that was served before, and is kept up to date, can be rolled back to"
