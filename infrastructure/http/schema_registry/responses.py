"""Error responses in Confluent's form, ``{"error_code", "message"}``, the only one that its clients read."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.http.errors import ApiError, headers_of
from infrastructure.schema_registry.compatibility import InvalidSchema
from infrastructure.schema_registry.errors import Incompatible, RegistryRefusal

log = logging.getLogger("ridelog.registry")

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"

_Request = Request[Any, Any, Any]


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers or {})


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    return reply({"error_code": code, "message": message}, status, headers)


def _on_registry_refusal(_request: _Request, error: RegistryRefusal) -> Response[bytes]:
    return _error(error.code // 100, error.code, str(error))


def _on_invalid(_request: _Request, error: InvalidSchema) -> Response[bytes]:
    return _error(422, 42201, f"Invalid schema: {error}")


def _on_incompatible(_request: _Request, error: Incompatible) -> Response[bytes]:
    return _error(409, 409, f"Schema being registered is incompatible with an earlier schema; {error}")


def _on_refused(_request: _Request, error: ApiError) -> Response[bytes]:
    # Confluent's codes for rejected tokens are 40101 and 40301; other codes are the HTTP status.
    code = error.status * 100 + 1 if error.status in {401, 403} else error.status
    return _error(error.status, code, str(error), error.headers)


def _on_http_error(_request: _Request, error: HTTPException) -> Response[bytes]:
    return _error(error.status_code, error.status_code, error.detail, headers_of(error))


def _on_database_error(request: _Request, error: SQLAlchemyError) -> Response[bytes]:
    log.error("registry: %s %s: %s", request.method, request.url.path, str(error).partition("\n")[0])
    return _error(500, 50001, "Postgres, where the schemas are, does not answer; the log of this node says why")


HANDLERS: dict[Any, Any] = {
    RegistryRefusal: _on_registry_refusal,
    InvalidSchema: _on_invalid,
    Incompatible: _on_incompatible,
    ApiError: _on_refused,
    HTTPException: _on_http_error,
    SQLAlchemyError: _on_database_error,
}
