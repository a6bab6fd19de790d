"""The error responses of the HTTP server itself, for requests that do not reach the application."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from infrastructure.observability import metrics

CODES: Final = (
    "malformed_request",
    "headers_too_large",
    "headers_stalled",
    "http_version_not_supported",
    "method_not_implemented",
    "transfer_encoding_not_implemented",
    "too_many_connections",
)
"""Every ``code`` of a refusal. Their counters start at 0: Prometheus sees no increase in one that starts at 1."""


class Refusal(NamedTuple):
    """An error response in the common form ``{"code", "detail"}``. It ends the connection."""

    status: int
    code: str
    detail: str
    retry: bool = False

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        """Answer as an ASGI application."""
        metrics.HTTP_REFUSED.labels(self.code).inc()
        body = msgspec.json.encode({"code": self.code, "detail": self.detail})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if self.retry:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


class RequestRefused(Exception):
    """Raised in a callback of the parser to stop it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


def malformed(what: str) -> Refusal:
    return Refusal(400, "malformed_request", f"not an HTTP/1.1 request: {what}")


def head_too_large(max_bytes: int) -> Refusal:
    return Refusal(431, "headers_too_large", f"the request line and headers may have {max_bytes} bytes together")


def head_too_slow(seconds: float) -> Refusal:
    return Refusal(408, "headers_stalled", f"the headers did not arrive within {seconds:g} s; send the request again")


def too_many_connections(most: int) -> Refusal:
    detail = f"{most} connections are open and busy; nothing was recorded, send the request again"
    return Refusal(503, "too_many_connections", detail, retry=True)
