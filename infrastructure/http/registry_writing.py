"""``/registry/subjects`` and ``/registry/compatibility``: registering, looking up, checking, deleting."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, delete, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.registry_errors import reply
from infrastructure.http.registry_lane import Lane
from infrastructure.http.registry_query import asked
from infrastructure.http.registry_requests import candidate_schema, version_number
from infrastructure.http.registry_schemas import described
from infrastructure.http.registry_subjects import known_versions
from infrastructure.registry.deletion import Deletion
from infrastructure.registry.refusals import unknown_schema, unknown_version
from infrastructure.registry.rows import Registered, Show
from infrastructure.registry.store import RegistryStore

_READ: Final = {"role": "read"}
_ADMIN: Final = {"role": "admin"}
_Request = Request[Any, Any, Any]


def registering_routes(store: RegistryStore, lane: Lane) -> list[HTTPRouteHandler]:
    """``?normalize=`` is taken and changes nothing: texts of one schema are one schema here in any case.

    Registering has a lane and a process of its own: requests of the role read must not hold up those of admin.
    """

    @post("/subjects/{subject:str}/versions", opt=_ADMIN, status_code=200)
    async def register(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        schema = await candidate_schema(request)
        registered = await lane.run(store.register, subject, schema)
        return reply({"id": registered.schema_id, "version": registered.version})

    return [register]


def checking_routes(store: RegistryStore, lane: Lane) -> list[HTTPRouteHandler]:
    """Looking up and checking: nothing is registered. Compatibility is by the level that is set for the subject."""

    @post("/subjects/{subject:str}", opt=_READ, status_code=200)
    async def look_up(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        schema, show = await candidate_schema(request), asked(request).show
        return reply(described(await lane.run(_found, store, subject, schema, show)))

    @post("/compatibility/subjects/{subject:str}/versions/{version:str}", opt=_READ, status_code=200)
    async def one(request: _Request, subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        wanted = version_number(version)
        schema = await candidate_schema(request)
        return _verdict(request, await lane.run(_problems, store, subject, schema, wanted))

    @post("/compatibility/subjects/{subject:str}/versions", opt=_READ, status_code=200)
    async def those_of_the_level(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        """The latest version, or at a transitive level all."""
        schema = await candidate_schema(request)
        return _verdict(request, await lane.run(store.problems, subject, schema))

    return [look_up, one, those_of_the_level]


def deleting_routes(deletion: Deletion) -> list[HTTPRouteHandler]:
    """Softly first, then with ``?permanent=true``."""

    @delete("/subjects/{subject:str}", opt=_ADMIN, status_code=200, sync_to_thread=True)
    def subject_(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        return reply(deletion.subject(subject, permanent=asked(request).permanent))

    @delete("/subjects/{subject:str}/versions/{version:str}", opt=_ADMIN, status_code=200, sync_to_thread=True)
    def version_(request: _Request, subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        return reply(deletion.version(subject, version_number(version), permanent=asked(request).permanent))

    return [subject_, version_]


def _found(store: RegistryStore, subject: str, schema: str, show: Show) -> Registered:
    known_versions(store, subject, show)
    found = store.find(subject, schema, show)
    if found is None:
        raise unknown_schema()
    return found


def _problems(store: RegistryStore, subject: str, schema: str, version: int | None) -> list[str]:
    known = store.versions(subject) if version is None else known_versions(store, subject)
    if version is None:
        # `latest` is that one version, also at a transitive level; nothing contradicts an unknown subject.
        version = known[-1].version if known else None
    elif all(one.version != version for one in known):
        raise unknown_version(version)
    return store.problems(subject, schema, version)


def _verdict(request: _Request, problems: list[str]) -> Response[bytes]:
    answer: dict[str, Any] = {"is_compatible": not problems}
    return reply(answer | {"messages": problems} if asked(request).verbose else answer)
