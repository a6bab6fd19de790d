"""Read routes: schemas by id (``/registry/schemas``), and subjects with their versions (``/registry/subjects``)."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.schema_registry.requests import SchemaQuery, asked, version_number
from infrastructure.http.schema_registry.responses import MEDIA_TYPE, reply
from infrastructure.schema_registry.errors import unknown_schema, unknown_subject, unknown_version
from infrastructure.schema_registry.queries import RegisteredSchema, Show
from infrastructure.schema_registry.store import RegistryStore

_READ: Final = {"role": "read"}
_Request = Request[Any, Any, Any]


def schema_routes(store: RegistryStore) -> list[HTTPRouteHandler]:
    """Schemas by id, and the list of all versions."""

    @get("/schemas", opt=_READ, sync_to_thread=True)
    def everything(request: _Request) -> Response[bytes]:
        query = asked(request)
        found = [one for one in store.everything(query.show) if one.subject.startswith(query.prefix)]
        if query.latest_only:
            found = list({one.subject: one for one in found}.values())
        return reply([described(one) for one in query.part(found)])

    @get("/schemas/ids/{schema_id:int}", opt=_READ, sync_to_thread=True)
    def schema_by_id(schema_id: FromPath[int]) -> Response[bytes]:
        return reply({"schema": _text(store, schema_id)})

    @get("/schemas/ids/{schema_id:int}/schema", opt=_READ, sync_to_thread=True)
    def only_schema_by_id(schema_id: FromPath[int]) -> Response[bytes]:
        return Response(_text(store, schema_id).encode(), media_type=MEDIA_TYPE)

    @get("/schemas/ids/{schema_id:int}/versions", opt=_READ, sync_to_thread=True)
    def versions_of_id(request: _Request, schema_id: FromPath[int]) -> Response[bytes]:
        query = asked(request)
        uses = [{"subject": one.subject, "version": one.version} for one in _uses(store, schema_id, query.show)]
        return reply(query.part(uses))

    @get("/schemas/ids/{schema_id:int}/subjects", opt=_READ, sync_to_thread=True)
    def subjects_of_id(request: _Request, schema_id: FromPath[int]) -> Response[bytes]:
        query = asked(request)
        return reply(query.part(sorted({one.subject for one in _uses(store, schema_id, query.show)})))

    @get("/schemas/types", opt=_READ)
    async def types() -> Response[bytes]:
        return reply(["AVRO"])

    return [everything, schema_by_id, only_schema_by_id, versions_of_id, subjects_of_id, types]


def described(one: RegisteredSchema) -> dict[str, Any]:
    """Returns a version in the form that Confluent's clients read."""
    return {"subject": one.subject, "version": one.version, "id": one.schema_id, "schema": one.schema}


def _text(store: RegistryStore, schema_id: int) -> str:
    # Soft-deleted ones too: data written with them is still read. A schema without any version is not returned.
    return _uses(store, schema_id, "all")[0].schema


def _uses(store: RegistryStore, schema_id: int, show: Show) -> list[RegisteredSchema]:
    # Ids are int4: a larger one would be an error in Postgres.
    uses = store.uses(schema_id, show) if 0 < schema_id < 2**31 else []
    if not uses:
        raise unknown_schema()
    return uses


def subject_routes(store: RegistryStore) -> list[HTTPRouteHandler]:
    """Lists of subjects and versions, one version, and its text."""

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
        """Always empty: schemas with references are rejected."""
        _one(store, subject, version, asked(request)._replace(show="all"))
        return reply([])

    return [subjects, versions, one_version, only_schema, referenced_by]


def known_versions(store: RegistryStore, subject: str, show: Show = "live") -> list[RegisteredSchema]:
    """Returns the versions to show. Raises RegistryRefusal 40401 if there is none."""
    known = store.versions(subject, show)
    if not known:
        raise unknown_subject(subject)
    return known


def _one(store: RegistryStore, subject: str, version: str, query: SchemaQuery) -> RegisteredSchema:
    wanted = version_number(version)
    known = known_versions(store, subject, query.show)
    found = known[-1:] if wanted is None else [one for one in known if one.version == wanted]
    if not found:
        raise unknown_version(wanted)
    return found[0]
