"""``/projections``: generations, and the tasks on them: rebuild, switch, roll back, drop.

A handler only records the request: ``serve`` starts a process for it (``supervision/task_starter.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from litestar import MediaType, Request, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.openapi.spec import OpenAPIType, Operation, Schema
from litestar.params import FromPath

from domain.errors import DomainError
from domain.json_fields import wrong_type
from domain.timestamps import json_integer
from infrastructure.http.command_body import decode_object, text_or_none
from infrastructure.http.delivery_operations import object_body
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.projection_answers import ProjectionsAnswer, TaskItem
from infrastructure.http.request_body import read_body
from infrastructure.postgres.projection_tasks import TaskKind

MAX_BODY_BYTES: Final = 4 * 1024
MAX_WORKERS: Final = 8
"""Processes of one fill: each holds a core."""
MAX_NUMBER: Final = 2**31 - 1
_DIGEST: Final = re.compile(r"[0-9a-f]{1,64}")
"""It is stored with the task, and Postgres takes no text with U+0000."""
_ADMIN: Final = {"role": "admin"}
_ERRORS: Final = errors(400, 404, 408, 409, 413, 415, 503)
_NUMBER: Final = Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MAX_NUMBER)


class Projections(Protocol):
    """Reads generations and records tasks. Blocks; safe to call in several threads. Raises ApiError."""

    def all(self) -> ProjectionsAnswer: ...

    def request(self, name: str, kind: TaskKind, options: Mapping[str, Any]) -> TaskItem: ...

    def cancel(self, name: str, number: int) -> TaskItem: ...


@dataclass
class RebuildOperation(Operation):
    """How to fill."""

    def __post_init__(self) -> None:
        only = Schema(type=OpenAPIType.BOOLEAN, description="fill and compare; keep nothing")
        workers = Schema(
            type=OpenAPIType.INTEGER, minimum=1, maximum=MAX_WORKERS, description="processes; 1 by default"
        )
        self.request_body = object_body("RebuildRequest", [], {"verify_only": only, "workers": workers})


@dataclass
class SwitchOperation(Operation):
    """To which generation."""

    def __post_init__(self) -> None:
        digest = Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], description="accepts the differences with it")
        self.request_body = object_body("SwitchRequest", ["generation"], {"generation": _NUMBER, "digest": digest})


@dataclass
class GenerationOperation(Operation):
    """Which generation."""

    def __post_init__(self) -> None:
        self.request_body = object_body("GenerationRequest", ["generation"], {"generation": _NUMBER})


@dataclass
class CancelOperation(Operation):
    """Which task."""

    def __post_init__(self) -> None:
        self.request_body = object_body("CancelRequest", ["task"], {"task": _NUMBER})


def projections_router(desk: Projections) -> Router:
    """Everything under ``/projections``."""

    @get(
        media_type=MediaType.JSON,
        opt={"role": "read"},
        sync_to_thread=True,
        summary="Generations of every projection, and tasks on them",
        responses=errors(503),
    )
    def get_projections() -> ProjectionsAnswer:
        """With what may be done to each generation, the first differences of a comparison in words, and the newest
        task with its rate and time left."""
        return desk.all()

    @post(
        "/{name:str}/rebuild",
        opt=_ADMIN,
        status_code=202,
        operation_class=RebuildOperation,
        responses=_ERRORS,
        summary="Fill a new generation and compare it with the served one",
    )
    async def rebuild_projection(request: Request[Any, Any, Any], name: FromPath[str]) -> TaskItem:
        """As `rebuild-projection` does, but it switches nothing: a generation that is equal waits for `switch`. An
        aborted rebuild is resumed."""
        return await _recorded(request, lambda item: desk.request(name, "rebuild", _rebuild(item)))

    @post(
        "/{name:str}/switch",
        opt=_ADMIN,
        status_code=202,
        operation_class=SwitchOperation,
        responses=_ERRORS,
        summary="Let readers follow a generation that was compared",
    )
    async def switch_projection(request: Request[Any, Any, Any], name: FromPath[str]) -> TaskItem:
        """The generation is caught up with the served one first, which is kept up to date afterwards. One with
        differences needs their `digest`."""
        return await _recorded(request, lambda item: desk.request(name, "switch", _switch(item)))

    @post(
        "/{name:str}/roll-back",
        opt=_ADMIN,
        status_code=202,
        operation_class=GenerationOperation,
        responses=_ERRORS,
        summary="Let readers follow the generation of before",
    )
    async def roll_back_projection(request: Request[Any, Any, Any], name: FromPath[str]) -> TaskItem:
        """As `rollback-projection` does; the same again goes forward."""
        return await _recorded(request, lambda item: desk.request(name, "roll-back", _generation(item)))

    @post(
        "/{name:str}/drop",
        opt=_ADMIN,
        status_code=202,
        operation_class=GenerationOperation,
        responses=_ERRORS,
        summary="Delete a generation that is not served",
    )
    async def drop_generation(request: Request[Any, Any, Any], name: FromPath[str]) -> TaskItem:
        """It can be filled again from the log, under another number."""
        return await _recorded(request, lambda item: desk.request(name, "drop", _generation(item)))

    @post(
        "/{name:str}/cancel",
        opt=_ADMIN,
        status_code=202,
        operation_class=CancelOperation,
        responses=_ERRORS,
        summary="End a task",
    )
    async def cancel_task(request: Request[Any, Any, Any], name: FromPath[str]) -> TaskItem:
        """Only a rebuild, or a task that has not started. Its process is stopped within seconds; another rebuild
        resumes what was filled."""
        return await _recorded(request, lambda item: desk.cancel(name, _integer(item, "task", MAX_NUMBER)))

    handlers = [
        get_projections,
        rebuild_projection,
        switch_projection,
        roll_back_projection,
        drop_generation,
        cancel_task,
    ]
    return Router("/projections", route_handlers=handlers, tags=["projections"])


async def _recorded(request: Request[Any, Any, Any], act: Callable[[Mapping[str, Any]], TaskItem]) -> TaskItem:
    body = await read_body(request, MAX_BODY_BYTES)
    try:
        item = decode_object(body)
        return await sync_to_thread(act, item)
    except DomainError as error:
        raise ApiError(400, error.code, str(error)) from error


def _rebuild(item: Mapping[str, Any]) -> dict[str, Any]:
    only = item.get("verify_only", False)
    if type(only) is not bool:
        raise wrong_type(item, "verify_only", "true or false")
    workers = _integer(item, "workers", MAX_WORKERS) if item.get("workers") is not None else 1
    return {"verify_only": only, "workers": workers}


def _switch(item: Mapping[str, Any]) -> dict[str, Any]:
    digest = text_or_none(item, "digest")
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise ApiError(400, "invalid_digest", "digest has 1 to 64 hexadecimal digits, as GET /projections shows it")
    return {**_generation(item), "digest": digest}


def _generation(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"generation": _integer(item, "generation", MAX_NUMBER)}


def _integer(item: Mapping[str, Any], name: str, most: int) -> int:
    value = json_integer(item.get(name))
    if value is None:
        raise wrong_type(item, name, "an integer")
    if not 1 <= value <= most:
        raise ApiError(400, "out_of_range", f"{name} is from 1 to {most}, not {value}")
    return value
