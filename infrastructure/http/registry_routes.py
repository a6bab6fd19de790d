"""Our schema registry over HTTP, as far as Confluent's clients for Avro use theirs; compatibility is BACKWARD.

It is not in our OpenAPI description: Confluent's describes it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import HttpMethod, Request, Response, Router, get, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from infrastructure.http.registry_errors import (
    HANDLERS,
    RegistryError,
    reply,
    unknown_schema,
    unknown_subject,
    unknown_version,
)
from infrastructure.http.registry_requests import candidate_schema, check_subject, version_number
from infrastructure.registry.store import Registered, RegistryStore

_READ: Final = {"role": "read"}
_ADMIN: Final = {"role": "admin"}


def registry_router(store: RegistryStore) -> Router:
    """Everything under ``/registry``; reading needs the role read, registering admin."""
    return Router(
        "/registry",
        route_handlers=[*_schema_routes(store), *_subject_routes(store), *_writing_routes(store), *_settings_routes()],
        before_request=check_subject,
        exception_handlers=HANDLERS,
        include_in_schema=False,
    )


def _schema_routes(store: RegistryStore) -> list[HTTPRouteHandler]:
    @get("/schemas/ids/{schema_id:int}", opt=_READ, sync_to_thread=True)
    def schema_by_id(schema_id: FromPath[int]) -> Response[bytes]:
        schema = store.schema(schema_id)
        if schema is None:
            raise unknown_schema()
        return reply({"schema": schema})

    @get("/schemas/ids/{schema_id:int}/versions", opt=_READ, sync_to_thread=True)
    def versions_of_id(schema_id: FromPath[int]) -> Response[bytes]:
        return reply([{"subject": used.subject, "version": used.version} for used in _uses(store, schema_id)])

    @get("/schemas/ids/{schema_id:int}/subjects", opt=_READ, sync_to_thread=True)
    def subjects_of_id(schema_id: FromPath[int]) -> Response[bytes]:
        return reply([used.subject for used in _uses(store, schema_id)])

    @get("/schemas/types", opt=_READ)
    async def types() -> Response[bytes]:
        return reply(["AVRO"])

    return [schema_by_id, versions_of_id, subjects_of_id, types]


def _subject_routes(store: RegistryStore) -> list[HTTPRouteHandler]:
    @get("/subjects", opt=_READ, sync_to_thread=True)
    def subjects() -> Response[bytes]:
        return reply(store.subjects())

    @get("/subjects/{subject:str}/versions", opt=_READ, sync_to_thread=True)
    def versions(subject: FromPath[str]) -> Response[bytes]:
        return reply([known.version for known in _known(store, subject)])

    @get("/subjects/{subject:str}/versions/{version:str}", opt=_READ, sync_to_thread=True)
    def one_version(subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        wanted = version_number(version)
        known = _known(store, subject)
        found = known[-1:] if wanted is None else [one for one in known if one.version == wanted]
        if not found:
            raise unknown_version(wanted or 0)
        return reply(_described(found[0]))

    return [subjects, versions, one_version]


def _writing_routes(store: RegistryStore) -> list[HTTPRouteHandler]:
    @post("/subjects/{subject:str}/versions", opt=_ADMIN, status_code=200)
    async def register(request: Request[Any, Any, Any], subject: FromPath[str]) -> Response[bytes]:
        schema = await candidate_schema(request)
        registered = await asyncio.to_thread(store.register, subject, schema)
        return reply({"id": registered.schema_id, "version": registered.version})

    @post("/subjects/{subject:str}", opt=_READ, status_code=200)
    async def look_up(request: Request[Any, Any, Any], subject: FromPath[str]) -> Response[bytes]:
        schema = await candidate_schema(request)
        await asyncio.to_thread(_known, store, subject)
        found = await asyncio.to_thread(store.find, subject, schema)
        if found is None:
            raise unknown_schema()
        return reply(_described(found))

    @post("/compatibility/subjects/{subject:str}/versions/{version:str}", opt=_READ, status_code=200)
    async def compatibility(
        request: Request[Any, Any, Any],
        subject: FromPath[str],
        version: FromPath[str],
        verbose: FromQuery[str] = "false",
    ) -> Response[bytes]:
        wanted = version_number(version)
        problems = await asyncio.to_thread(_problems, store, subject, await candidate_schema(request), wanted)
        return _verdict(problems, verbose)

    @post("/compatibility/subjects/{subject:str}/versions", opt=_READ, status_code=200)
    async def compatibility_of_all(
        request: Request[Any, Any, Any], subject: FromPath[str], verbose: FromQuery[str] = "false"
    ) -> Response[bytes]:
        """BACKWARD asks the latest version only, however many there are."""
        problems = await asyncio.to_thread(store.problems, subject, await candidate_schema(request))
        return _verdict(problems, verbose)

    return [register, look_up, compatibility, compatibility_of_all]


def _settings_routes() -> list[HTTPRouteHandler]:
    @get(["/config", "/config/{subject:str}"], opt=_READ)
    async def config() -> Response[bytes]:
        return reply({"compatibilityLevel": "BACKWARD"})

    @get(["/mode", "/mode/{subject:str}"], opt=_READ)
    async def mode() -> Response[bytes]:
        return reply({"mode": "READWRITE"})

    @route("/{rest:path}", http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.DELETE])
    async def nothing_else(rest: FromPath[str]) -> Response[bytes]:
        """What clients ask of newer registries (associations of topics) is answered in a form that they read."""
        raise RegistryError(404, 404, f"this registry has no {rest}")

    return [config, mode, nothing_else]


def _known(store: RegistryStore, subject: str) -> list[Registered]:
    known = store.versions(subject)
    if not known:
        raise unknown_subject(subject)
    return known


def _uses(store: RegistryStore, schema_id: int) -> list[Registered]:
    uses = store.uses(schema_id)
    if not uses:
        raise unknown_schema()
    return uses


def _problems(store: RegistryStore, subject: str, schema: str, version: int | None) -> list[str]:
    if version is not None and all(known.version != version for known in _known(store, subject)):
        raise unknown_version(version)
    return store.problems(subject, schema, version)


def _verdict(problems: list[str], verbose: str) -> Response[bytes]:
    answer: dict[str, Any] = {"is_compatible": not problems}
    return reply(answer | {"messages": problems} if verbose.lower() == "true" else answer)


def _described(registered: Registered) -> dict[str, Any]:
    return {
        "subject": registered.subject,
        "version": registered.version,
        "id": registered.schema_id,
        "schema": registered.schema,
    }
