"""The errors of a route, for the OpenAPI description: an answer that is not in it is one that no client expects."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar.openapi import ResponseSpec

_MEANING: Final = {
    400: "the request is wrong as it stands; the detail says where",
    401: "no token, or an unknown one",
    403: "the token's role is another; without tokens: the request names another machine",
    404: "not known, or not yet",
    408: "the body stopped coming, or came too slowly; send it again",
    413: "too many items or bytes",
    415: "a Content-Encoding that is not read; Accept-Encoding names those that are",
    422: "understood, and more than this server does at once",
    500: "something went wrong here; the log of this node has the details",
    503: "away or busy; Retry-After says when to try again",
}


class ErrorBody(msgspec.Struct):
    """``code`` is stable, for programs; ``detail`` is for people."""

    code: str
    detail: str


def errors(*statuses: int, public: bool = False) -> dict[int, ResponseSpec]:
    """For ``responses=`` of a handler: these, and those that every route can give; ``public``: needs no token."""
    every = {*statuses, 403, 500} | (set() if public else {401})
    return {
        status: ResponseSpec(ErrorBody, description=_MEANING[status], generate_examples=False)
        for status in sorted(every)
    }
