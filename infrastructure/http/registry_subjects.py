"""``/registry/subjects``: subjects and their versions, read."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.registry_errors import MEDIA_TYPE, reply
from infrastructure.http.registry_query import Asked, asked
from infrastructure.http.registry_requests import version_number
from infrastructure.http.registry_schemas import described
from infrastructure.registry.refusals import unknown_subject, unknown_version
from infrastructure.registry.rows import Registered, Show
from infrastructure.registry.store import RegistryStore

_READ: Final = {"role": "read"}
_Request = Request[Any, Any, Any]


def subject_routes(store: RegistryStore) -> list[HTTPRouteHandler]:
    """Lists, one version, and its text alone."""

    @get("/subjects", opt=_READ, sync_to_thread=True)
    def subjects(request: _Request) -> Response[bytes]:
        query = asked(request)
        found = [subject for subject in store.subjects(query.show) if subject.startswith(query.prefix)]
        return reply(query.part(found))

    @get("/subjects/{subject:str}/versions", opt=_READ, sync_to_thread=True)
    def versions(request: _Request, subject: FromPath[str]) -> Response[bytes]:
        query = asked(request)
        return reply(query.part([one.version for one in known_versions(store, subject, query.show)]))

    @get("/subjects/{subject:str}/versions/{version:str}", opt=_READ, sync_to_thread=True)
    def one_version(request: _Request, subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        return reply(described(_one(store, subject, version, asked(request))))

    @get("/subjects/{subject:str}/versions/{version:str}/schema", opt=_READ, sync_to_thread=True)
    def only_schema(request: _Request, subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        return Response(_one(store, subject, version, asked(request)).schema.encode(), media_type=MEDIA_TYPE)

    @get("/subjects/{subject:str}/versions/{version:str}/referencedby", opt=_READ, sync_to_thread=True)
    def referenced_by(request: _Request, subject: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        """Nothing refers to anything: schemas with references are refused."""
        _one(store, subject, version, asked(request)._replace(show="all"))
        return reply([])

    return [subjects, versions, one_version, only_schema, referenced_by]


def known_versions(store: RegistryStore, subject: str, show: Show = "live") -> list[Registered]:
    """Raises Refused 40401 if there is none to show."""
    known = store.versions(subject, show)
    if not known:
        raise unknown_subject(subject)
    return known


def _one(store: RegistryStore, subject: str, version: str, query: Asked) -> Registered:
    wanted = version_number(version)
    known = known_versions(store, subject, query.show)
    found = known[-1:] if wanted is None else [one for one in known if one.version == wanted]
    if not found:
        raise unknown_version(wanted)
    return found[0]
