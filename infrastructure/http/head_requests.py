"""Answers ``HEAD`` on every route that has ``GET`` (RFC 9110, 9.3.2)."""

from __future__ import annotations

from typing import Any, cast

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send


class HeadApplication(Litestar):
    """Answers HEAD as GET, with the same status and headers, Content-Length among them, and without the body.

    Litestar needs a second handler for each route, and sends no Content-Length from it.
    """

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] != ScopeType.HTTP or cast("HTTPScope", scope)["method"] != "HEAD":
            await super().__call__(scope, receive, send)
            return
        ended = False

        async def without_body(message: Any) -> None:
            nonlocal ended
            if message["type"] == "http.response.body":
                if ended:
                    return
                # End with the first part: a stream of events has no last part.
                ended = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await cast("Any", send)(message)

        await super().__call__(cast("Any", {**scope, "method": "GET"}), receive, without_body)
