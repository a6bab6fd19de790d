"""Turns every error into ``{"code", "detail"}``, and describes the errors of each route for OpenAPI.

An error that is missing from the description is one that no client expects.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import ResponseSpec

from infrastructure.status.failure_text import in_one_line
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.http")


class ApiError(Exception):
    """An error response: a status, a stable code, and a detail that says what to do."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}


def unavailable(code: str, detail: str) -> ApiError:
    """The answer 503. A ``detail`` that begins with the name of a server is put in words for people."""
    return ApiError(503, code, in_one_line(detail), {"Retry-After": "1"})


@contextmanager
def unavailable_as(code: str) -> Iterator[None]:
    """Answer 503 with ``code`` where a server is unavailable, or rejects what it is sent."""
    try:
        yield
    except (PortUnavailable, SinkRejected) as error:
        raise unavailable(code, f"{error}; send it again") from error


def _body(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response[dict[str, str]]:
    return Response({"code": code, "detail": detail}, status_code=status, headers=headers or {})


def on_api_error(_request: Request[Any, Any, Any], error: ApiError) -> Response[dict[str, str]]:
    return _body(error.status, error.code, error.detail, error.headers)


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    status = error.status_code
    code = "invalid_request" if isinstance(error, ValidationException) else _code(status)
    return _body(status, code, _detail_of(error), headers_of(error))


def headers_of(error: HTTPException) -> dict[str, str]:
    """The headers of an error's response. Where GET is allowed, so is HEAD."""
    headers = dict(error.headers or {})
    allowed = headers.get("allow", "")
    return headers | {"allow": f"{allowed}, HEAD"} if "GET" in allowed.split(", ") else headers


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    # The route's template: a path may be the secret address of a delivery (``delivery_links``).
    route = request.scope.get("path_template") or "a route"
    log.error("unexpected error in %s %s", request.method, route, exc_info=error)
    return _body(500, "internal_error", "something went wrong here; the log of this node has the details")


def _detail_of(error: HTTPException) -> str:
    extra = getattr(error, "extra", None)
    if isinstance(extra, list):
        parts = [f"{item.get('key', '')}: {item.get('message', '')}" for item in extra if isinstance(item, dict)]
        if parts:
            return "; ".join(parts)
    return error.detail or HTTPStatus(error.status_code).phrase


def _code(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("'", "")


HANDLERS: dict[Any, Any] = {ApiError: on_api_error, HTTPException: on_http_error, Exception: on_unexpected}

_MEANING: Final = {
    400: "the request is invalid; the detail says where",
    401: "no token, or an unknown one",
    403: "the token lacks the role; without tokens: the request names another machine",
    404: "unknown, or not known yet",
    409: "the state of what the request names does not allow it; nothing was recorded",
    408: "the body stopped arriving, or arrived too slowly; send it again",
    413: "too many items or bytes",
    415: "an unsupported Content-Encoding; Accept-Encoding names the supported ones",
    422: "valid, but more than this server does in one request",
    500: "something went wrong here; the log of this node has the details",
    503: "unavailable or busy; Retry-After says when to try again",
}


class ErrorBody(msgspec.Struct):
    """``code`` is stable and for programs. ``detail`` is for people."""

    code: str
    detail: str


def errors(*statuses: int, public: bool = False) -> dict[int, ResponseSpec]:
    """For ``responses=`` of a handler: ``statuses`` and those of every route. ``public``: the route needs no token."""
    every = {*statuses, 403, 500} | (set() if public else {401})
    return {
        status: ResponseSpec(ErrorBody, description=_MEANING[status], generate_examples=False)
        for status in sorted(every)
    }
