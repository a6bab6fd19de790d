"""Write routes: registering, looking up, checking and deleting schemas, and the settings of subjects.

``/registry/config`` and ``/registry/mode`` are for one subject, or without one for all subjects without their own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.schema_registry.read_routes import described, known_versions
from infrastructure.http.schema_registry.requests import (
    asked,
    candidate_schema,
    level_asked,
    mode_asked,
    version_number,
)
from infrastructure.http.schema_registry.responses import reply
from infrastructure.http.schema_registry.serial_worker import SerialWorker
from infrastructure.schema_registry.compatibility import DEFAULT
from infrastructure.schema_registry.errors import (
    no_level_of_its_own,
    no_mode_of_its_own,
    unknown_schema,
    unknown_subject,
    unknown_version,
)
from infrastructure.schema_registry.queries import RegisteredSchema, Show
from infrastructure.schema_registry.store import Deletion, RegistryStore
from infrastructure.schema_registry.subject_settings import EVERYWHERE, Mode, Name, SubjectSettings

_READ: Final = {"role": "read"}
_ADMIN: Final = {"role": "admin"}
_Request = Request[Any, Any, Any]


def registering_routes(store: RegistryStore, lane: SerialWorker) -> list[HTTPRouteHandler]:
    """Registers a schema. ``?normalize=`` is accepted without effect: all texts of one schema have one id here anyway.

    Registering has its own worker and check process: requests of the role read must not delay those of admin.
    """

    @post("/subjects/{subject:str}/versions", opt=_ADMIN, status_code=200)
    async def register(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        schema = await candidate_schema(request)
        registered = await lane.run(store.register, subject, schema)
        return reply({"id": registered.schema_id, "version": registered.version})

    return [register]


def checking_routes(store: RegistryStore, lane: SerialWorker) -> list[HTTPRouteHandler]:
    """Looks up and checks schemas without registering them. Compatibility is by the level of the subject."""

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
        """Compares with the latest version, at a transitive level with all."""
        schema = await candidate_schema(request)
        return _verdict(request, await lane.run(store.problems, subject, schema))

    return [look_up, one, those_of_the_level]


def deleting_routes(deletion: Deletion) -> list[HTTPRouteHandler]:
    """Deletes, first softly, then with ``?permanent=true``."""

    @delete("/subjects/{subject:str}", opt=_ADMIN, status_code=200, sync_to_thread=True)
    def subject_(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        return reply(deletion.subject(subject, permanent=asked(request).permanent))

    @delete("/subjects/{subject:str}/versions/{version:str}", opt=_ADMIN, status_code=200, sync_to_thread=True)
    def version_(request: _Request, subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        return reply(deletion.version(subject, version_number(version), permanent=asked(request).permanent))

    return [subject_, version_]


def _found(store: RegistryStore, subject: str, schema: str, show: Show) -> RegisteredSchema:
    known_versions(store, subject, show)
    found = store.find(subject, schema, show)
    if found is None:
        raise unknown_schema()
    return found


def _problems(store: RegistryStore, subject: str, schema: str, version: int | None) -> list[str]:
    known = store.versions(subject) if version is None else known_versions(store, subject)
    if version is None:
        # `latest` means that one version, even at a transitive level. An unknown subject is compatible with everything.
        version = known[-1].version if known else None
    elif all(one.version != version for one in known):
        raise unknown_version(version)
    return store.problems(subject, schema, version)


def _verdict(request: _Request, problems: list[str]) -> Response[bytes]:
    answer: dict[str, Any] = {"is_compatible": not problems}
    return reply(answer | {"messages": problems} if asked(request).verbose else answer)


_CONFIG: Final = ["/config", "/config/{subject:str}"]
_MODE: Final = ["/mode", "/mode/{subject:str}"]


def settings_routes(preferences: SubjectSettings) -> list[HTTPRouteHandler]:
    """Confluent answers a PUT with the key ``compatibility``, a GET and a DELETE with ``compatibilityLevel``."""

    @get(_CONFIG, opt=_READ)
    async def config(request: _Request) -> Response[bytes]:
        level = await asyncio.to_thread(_in_force, preferences, "compatibility", request, DEFAULT)
        if level is None:
            raise no_level_of_its_own(_subject(request))
        return reply({"compatibilityLevel": level})

    @put(_CONFIG, opt=_ADMIN)
    async def set_config(request: _Request) -> Response[bytes]:
        level = await level_asked(request)
        await asyncio.to_thread(preferences.put, "compatibility", _subject(request), level)
        return reply({"compatibility": level})

    @delete(_CONFIG, opt=_ADMIN, status_code=200)
    async def reset_config(request: _Request) -> Response[bytes]:
        before = await asyncio.to_thread(_reset, preferences, "compatibility", request, DEFAULT)
        return reply({"compatibilityLevel": before})

    @get(_MODE, opt=_READ)
    async def mode(request: _Request) -> Response[bytes]:
        found = await asyncio.to_thread(_in_force, preferences, "mode", request, Mode.READWRITE)
        if found is None:
            raise no_mode_of_its_own(_subject(request))
        return reply({"mode": found})

    @put(_MODE, opt=_ADMIN)
    async def set_mode(request: _Request) -> Response[bytes]:
        wanted = await mode_asked(request)
        await asyncio.to_thread(preferences.put, "mode", _subject(request), wanted)
        return reply({"mode": wanted})

    @delete(_MODE, opt=_ADMIN, status_code=200)
    async def reset_mode(request: _Request) -> Response[bytes]:
        before = await asyncio.to_thread(_reset, preferences, "mode", request, Mode.READWRITE)
        return reply({"mode": before})

    return [config, set_config, reset_config, mode, set_mode, reset_mode]


def _subject(request: _Request) -> str:
    return str(request.path_params.get("subject", EVERYWHERE))


def _in_force(preferences: SubjectSettings, name: Name, request: _Request, default: str) -> str | None:
    """Returns None for a subject without its own setting, unless the request asks for the default."""
    subject = _subject(request)
    own = preferences.get(name, subject)
    if own is None and (subject == EVERYWHERE or asked(request).default_to_global):
        return preferences.get(name, EVERYWHERE) or default
    return own


def _reset(preferences: SubjectSettings, name: Name, request: _Request, default: str) -> str:
    """Removes the subject's setting and returns it. Raises RegistryRefusal 40401, as Confluent's, if it has none."""
    subject = _subject(request)
    before = preferences.put(name, subject, None)
    if before is None and subject != EVERYWHERE:
        raise unknown_subject(subject)
    return before or default
