"""Every error leaves as ``{"code", "detail"}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

log = logging.getLogger("ridelog.http")


class ApiError(Exception):
    """A refusal with a status, a stable code and words that say what to do."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}


def unavailable(code: str, detail: str) -> ApiError:
    return ApiError(503, code, detail, {"Retry-After": "1"})


def _body(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response[dict[str, str]]:
    return Response({"code": code, "detail": detail}, status_code=status, headers=headers or {})


def on_api_error(_request: Request[Any, Any, Any], error: ApiError) -> Response[dict[str, str]]:
    return _body(error.status, error.code, error.detail, error.headers)


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    status = error.status_code
    code = "invalid_request" if isinstance(error, ValidationException) else _code(status)
    return _body(status, code, _words(error), headers_of(error))


def headers_of(error: HTTPException) -> dict[str, str]:
    """The headers of an error's response. Where GET is allowed, HEAD is."""
    headers = dict(error.headers or {})
    allowed = headers.get("allow", "")
    return headers | {"allow": f"{allowed}, HEAD"} if "GET" in allowed.split(", ") else headers


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    log.error("unexpected error in %s %s", request.method, request.url.path, exc_info=error)
    return _body(500, "internal_error", "something went wrong here; the log of this node has the details")


def _words(error: HTTPException) -> str:
    extra = getattr(error, "extra", None)
    if isinstance(extra, list):
        parts = [f"{item.get('key', '')}: {item.get('message', '')}" for item in extra if isinstance(item, dict)]
        if parts:
            return "; ".join(parts)
    return error.detail or HTTPStatus(error.status_code).phrase


def _code(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("'", "")


HANDLERS: dict[Any, Any] = {ApiError: on_api_error, HTTPException: on_http_error, Exception: on_unexpected}
