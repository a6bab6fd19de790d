"""``/registry/config`` and ``/registry/mode``: for one subject, or without one for all that have none of their own."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import Request, Response, delete, get, put
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.registry_errors import reply
from infrastructure.http.registry_query import asked
from infrastructure.http.registry_requests import level_asked, mode_asked
from infrastructure.registry.levels import DEFAULT
from infrastructure.registry.preferences import EVERYWHERE, Mode, Name, Preferences
from infrastructure.registry.refusals import no_level_of_its_own, no_mode_of_its_own, unknown_subject

_READ: Final = {"role": "read"}
_ADMIN: Final = {"role": "admin"}
_CONFIG: Final = ["/config", "/config/{subject:str}"]
_MODE: Final = ["/mode", "/mode/{subject:str}"]
_Request = Request[Any, Any, Any]


def settings_routes(preferences: Preferences) -> list[HTTPRouteHandler]:
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


def _in_force(preferences: Preferences, name: Name, request: _Request, default: str) -> str | None:
    """None for a subject without a setting of its own, unless the request asks for what then holds."""
    subject = _subject(request)
    own = preferences.get(name, subject)
    if own is None and (subject == EVERYWHERE or asked(request).default_to_global):
        return preferences.get(name, EVERYWHERE) or default
    return own


def _reset(preferences: Preferences, name: Name, request: _Request, default: str) -> str:
    """Back to that for all; what was set. Raises Refused 40401 as Confluent's does where nothing was."""
    subject = _subject(request)
    before = preferences.put(name, subject, None)
    if before is None and subject != EVERYWHERE:
        raise unknown_subject(subject)
    return before or default
