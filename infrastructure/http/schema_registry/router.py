"""Serves the embedded schema registry over HTTP: the part of Confluent's API that its Avro clients use.

It is not in our OpenAPI description: Confluent's describes it. docs/schemas.md says what is not supported.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import HttpMethod, Response, Router, get, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.schema_registry.read_routes import schema_routes, subject_routes
from infrastructure.http.schema_registry.requests import check_subject
from infrastructure.http.schema_registry.responses import HANDLERS, reply
from infrastructure.http.schema_registry.serial_worker import SerialWorker
from infrastructure.http.schema_registry.write_routes import (
    checking_routes,
    deleting_routes,
    registering_routes,
    settings_routes,
)
from infrastructure.schema_registry.check_process import CheckProcess
from infrastructure.schema_registry.store import Deletion, RegistryStore
from infrastructure.schema_registry.subject_settings import SubjectSettings

READ: Final[dict[str, Any]] = {"role": "read"}


def registry_router(store: RegistryStore) -> Router:
    """Returns all routes under ``/registry``. Reading, looking up and checking need the role read, the rest admin."""
    return Router(
        "/registry",
        route_handlers=[
            *schema_routes(store),
            *subject_routes(store),
            *registering_routes(RegistryStore(store.engine, CheckProcess()), SerialWorker()),
            *checking_routes(RegistryStore(store.engine, CheckProcess()), SerialWorker()),
            *deleting_routes(Deletion(store.engine)),
            *settings_routes(SubjectSettings(store.engine)),
            *_rest(),
        ],
        before_request=check_subject,
        exception_handlers=HANDLERS,
        include_in_schema=False,
    )


def _rest() -> list[HTTPRouteHandler]:
    @get("/", opt=READ)
    async def root() -> Response[bytes]:
        """Clients call it to check that the registry is available."""
        return reply({})

    @get("/subjects/{subject:str}/metadata", opt=READ)
    async def metadata(subject: FromPath[str]) -> Response[bytes]:
        """Needs its own route: the router does not backtrack from a path whose beginning it has matched."""
        raise NotFoundException(f"this registry keeps no metadata, of {subject} or any other subject")

    @route("/{rest:path}", http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.DELETE])
    async def nothing_else(rest: FromPath[str]) -> Response[bytes]:
        """Answers calls for features of newer registries (associations of topics) in a form that clients read."""
        raise NotFoundException(f"this registry has no {rest}")

    return [root, metadata, nothing_else]
