"""The HTTP client: sends pings and commands, repeats a request until the server has answered it; reads.

Repeating a request is safe: a ping, and a command with its Idempotency-Key, is recorded once, however often it is sent.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import quote

import httpx
import msgspec

from infrastructure.client.messages import (
    CommandReceipt,
    DeliveryAnswer,
    EtaMessage,
    Ping,
    PostReceipt,
    SpeedAnswer,
    body,
    encode,
    read_command,
    read_deliveries,
    read_delivery,
    read_eta,
    read_receipt,
    read_refusal,
    read_speed,
    split,
)
from infrastructure.embedded.data_dir import read_run_info
from infrastructure.errors import UserError
from infrastructure.settings.addresses import http_address
from infrastructure.settings.redaction import remember
from infrastructure.settings.settings import Settings

COMMAND_REFUSED = frozenset({400, 404, 409})
"""Statuses of a command that the domain refused: nothing was recorded, and a repeat would be refused too."""

PAGE_DELIVERIES = 500
"""Deliveries that are asked for at once."""

NO_ETA = frozenset({"unknown_delivery", "delivery_over"})
"""Codes of an order that has no ETA."""

RETRIED = frozenset({408, 429, 502, 503, 504})
FIRST_RETRY_DELAY_S = 0.1
MAX_RETRY_DELAY_S = 5.0
MAX_RETRY_AFTER_S = 30.0


def retry_delay_s(attempt: int, retry_after: str | None, chance: float) -> float:
    """Seconds to wait after the failed ``attempt`` (from 0); ``chance`` in [0, 1) spreads clients that failed together.

    A Retry-After header (seconds) is honoured up to MAX_RETRY_AFTER_S. Otherwise the delay doubles from
    FIRST_RETRY_DELAY_S to MAX_RETRY_DELAY_S.
    """
    requested_s = retry_after_s(retry_after)
    if requested_s is not None:
        return requested_s + FIRST_RETRY_DELAY_S * chance
    return float(min(MAX_RETRY_DELAY_S, FIRST_RETRY_DELAY_S * 2 ** min(attempt, 16))) * (0.5 + 0.5 * chance)


def retry_after_s(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header; None if it is missing or in its other form, a date."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, seconds)) if math.isfinite(seconds) else None


def server_url(settings: Settings) -> str:
    """The URL of the ``serve`` that runs on the data directory, else the one at which a ``serve`` would listen.

    Raises UserError: no ``serve`` runs there, and the port 0 names none.
    """
    info = read_run_info(settings.data_dir)
    if info is not None:
        return info.http_url
    if settings.port == 0:
        raise UserError(
            f"no serve runs on {settings.data_dir}, and port 0 takes a free one when it starts: start it first, "
            "or name the server with --url"
        )
    return settings.local_url


RETRY_TIMEOUT_S = 60.0
"""How long one request is retried: longer than a restart of any part of ridelog takes."""

CONNECT_TIMEOUT_S = 5.0
"""How long the first request is retried. While the server has never answered, a wrong address is more likely than a
busy server."""


class RidelogClient:
    """Safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        on_retry: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """``url`` is for example http://127.0.0.1:8000; ``on_retry`` is called with the reason before each retry.

        Raises UserError for a malformed URL or token.
        """
        try:
            self._shown, secrets = http_address(url)
        except ValueError as error:
            raise UserError(f"--url: {error}") from None
        if token and not (token.isascii() and token.isprintable()):
            # Checked here because the error of the HTTP library quotes the header, and with it the token.
            raise UserError("--token (RIDELOG_TOKEN) has a character that is not allowed in an HTTP header")
        remember({*secrets, token or ""})
        self._url = url.rstrip("/")
        self._retry_timeout_s = retry_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._on_retry = on_retry
        self._answered = False
        self._closing = threading.Event()
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(30.0, connect=5.0),
            # A proxy from the environment would resolve a loopback address to its own machine.
            trust_env=httpx.URL(url).host not in {"127.0.0.1", "::1", "localhost"},
        )

    def post_pings(self, pings: Sequence[Ping]) -> PostReceipt:
        """Record pings; see ``post_encoded``."""
        return self.post_encoded([encode(ping) for ping in pings])

    def post_encoded(self, items: Sequence[bytes]) -> PostReceipt:
        """Record encoded pings, in as many requests as the limits require.

        Returns one receipt for all. Raises UserError if the server refuses or stays unavailable. Pings of this call
        may then be recorded or not; it is safe to send them again.
        """
        receipt, sent = PostReceipt(), 0
        for part in split(items):
            receipt = receipt.then(self._post_part(part), sent)
            sent += len(part)
        return receipt

    def speed(self, rider_id: str, *, allow_expired: bool = False) -> SpeedAnswer | None:
        """The rider's speed; None for an unknown rider. Raises UserError if the server refuses or stays unavailable."""
        query = "?allow_expired=true" if allow_expired else ""
        answer = self._send("GET", f"/riders/{quote(rider_id, safe='')}/speed{query}", None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            self._refused(answer)
        return read_speed(answer.content)

    def place_order(self, order: Mapping[str, Any], key: str) -> CommandReceipt:
        """Place an order; ``order`` is the body of ``POST /deliveries``, ``key`` the Idempotency-Key.

        A refusal by the domain is in the receipt. Raises UserError if the server refuses the request for another
        reason or stays unavailable. The order may then be placed or not; it is safe to place it again.
        """
        return self._command("/deliveries", order, key)

    def delivery_command(self, order_id: str, verb: str, body: Mapping[str, Any], key: str) -> CommandReceipt:
        """Send assign, unassign, pickup, arrive, complete or cancel; as ``place_order`` otherwise."""
        return self._command(f"/deliveries/{quote(order_id, safe='')}/{verb}", body, key)

    def delivery(self, order_id: str) -> DeliveryAnswer | None:
        """The delivery; None for an unknown order. Raises UserError if the server refuses or stays unavailable."""
        answer = self._send("GET", f"/deliveries/{quote(order_id, safe='')}", None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            self._refused(answer)
        return read_delivery(answer.content)

    def deliveries(self, status: str) -> Iterator[DeliveryAnswer]:
        """All deliveries in a status, the oldest first. Raises UserError as ``delivery`` does."""
        cursor: str | None = ""
        while cursor is not None:
            page = f"&cursor={quote(cursor, safe='')}" if cursor else ""
            answer = self._send("GET", f"/deliveries?status={status}&limit={PAGE_DELIVERIES}{page}", None)
            if answer.status_code != httpx.codes.OK:
                self._refused(answer)
            found = read_deliveries(answer.content)
            yield from found.items
            cursor = found.next

    def eta(self, order_id: str) -> EtaMessage | None:
        """The ETA of an order; None if the order is unknown or over. Raises UserError as ``delivery`` does."""
        answer = self._send("GET", f"/deliveries/{quote(order_id, safe='')}/eta", None)
        if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
            if read_refusal(answer.content).code in NO_ETA:
                return None
            self._refused(answer)
        if answer.status_code != httpx.codes.OK:
            self._refused(answer)
        return read_eta(answer.content)

    def interrupt(self) -> None:
        """End every wait for a retry, now and later. Requests that are under way still get their answers."""
        self._closing.set()

    def close(self) -> None:
        """Close the connections and end every wait."""
        self.interrupt()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post_part(self, items: Sequence[bytes]) -> PostReceipt:
        answer = self._send("POST", "/pings", body(items))
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and len(items) > 1:
            # This server has lower limits than the defaults.
            half = len(items) // 2
            return self._post_part(items[:half]).then(self._post_part(items[half:]), half)
        if answer.status_code != httpx.codes.OK:
            self._refused(answer)
        return read_receipt(answer.content, len(items))

    def _command(self, path: str, body: Mapping[str, Any], key: str) -> CommandReceipt:
        answer = self._send("POST", path, encode(body), {"Idempotency-Key": key})
        if answer.status_code in COMMAND_REFUSED:
            return read_refusal(answer.content)
        if answer.status_code not in {httpx.codes.OK, httpx.codes.CREATED}:
            self._refused(answer)
        return read_command(answer.content, is_created=answer.status_code == httpx.codes.CREATED)

    def _send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> httpx.Response:
        began = time.monotonic()
        attempt = 0
        while True:
            retry_after: str | None = None
            try:
                answer = self._http.request(
                    method, self._url + path, content=content, headers={"Content-Type": "application/json", **headers}
                )
                self._answered = True
                if answer.status_code not in RETRIED:
                    return answer
                reason = _status_text(answer)
                retry_after = answer.headers.get("retry-after")
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            timeout_s = self._retry_timeout_s if self._answered else self._connect_timeout_s
            delay_s = retry_delay_s(attempt, retry_after, random.random())
            tried_s = time.monotonic() - began
            if tried_s + delay_s > timeout_s:
                hint = (
                    "send again later, everything is recorded once" if self._answered else "is `serve` running there?"
                )
                raise UserError(f"{self._shown} is unavailable ({reason}), gave up after {tried_s:.0f} s; {hint}")
            self._on_retry(reason)
            if self._closing.wait(delay_s):
                raise UserError(f"interrupted while {self._shown} was unavailable ({reason})")
            attempt += 1

    def _refused(self, answer: httpx.Response) -> NoReturn:
        hint = "; give --token or RIDELOG_TOKEN" if answer.status_code in {401, 403} else ""
        raise UserError(f"{self._shown} refused the request: {_status_text(answer)}{hint}")


def _status_text(answer: httpx.Response) -> str:
    try:
        body: Any = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        body = None
    detail = body.get("detail") if isinstance(body, dict) else None
    return f"{answer.status_code} {answer.reason_phrase}" + (f": {detail}" if detail else "")
