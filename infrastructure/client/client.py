"""The HTTP client: sends pings until the server has answered for each of them, and reads speeds."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import quote

import httpx
import msgspec

from infrastructure.client.messages import Ping, PostReceipt, SpeedAnswer, body, encode, read_receipt, read_speed, split
from infrastructure.embedded.data_dir import read_run_info
from infrastructure.errors import UserError
from infrastructure.settings.addresses import http_address
from infrastructure.settings.redaction import remember

RETRIED = frozenset({408, 429, 502, 503, 504})
FIRST_RETRY_DELAY_S = 0.1
MAX_RETRY_DELAY_S = 5.0
MAX_RETRY_AFTER_S = 30.0


def retry_delay_s(attempt: int, retry_after: str | None, chance: float) -> float:
    """Seconds to wait after the failed ``attempt`` (from 0); ``chance`` in [0, 1) spreads clients that failed together.

    What the server asks for in Retry-After (seconds) is honoured up to MAX_RETRY_AFTER_S; else the pause doubles
    from FIRST_S to LONGEST_S.
    """
    asked = retry_after_s(retry_after)
    if asked is not None:
        return asked + FIRST_RETRY_DELAY_S * chance
    return float(min(MAX_RETRY_DELAY_S, FIRST_RETRY_DELAY_S * 2 ** min(attempt, 16))) * (0.5 + 0.5 * chance)


def retry_after_s(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header; None without one or in its other form, a date."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, seconds)) if math.isfinite(seconds) else None


DEFAULT_URL = "http://127.0.0.1:8000"


def server_url(given: str | None, data_dir: Path) -> str:
    """``given``, else that of the ``serve`` that runs on ``data_dir``, else the address ``serve`` has by default."""
    if given is not None:
        return given
    info = read_run_info(data_dir)
    return DEFAULT_URL if info is None else info.http_url


REQUEST_TIMEOUT_S = 60.0
"""How long one request is sent again: longer than a restart of any part of ridelog takes."""

FIRST_CONNECT_TIMEOUT_S = 5.0
"""The same before the server has ever answered: then the address is more likely wrong than the server busy."""


class RidelogClient:
    """Safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience_s: float = REQUEST_TIMEOUT_S,
        first_patience_s: float = FIRST_CONNECT_TIMEOUT_S,
        on_retry: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """``url`` such as http://127.0.0.1:8000; ``on_retry`` hears, in words, why a request is sent again."""
        try:
            self._shown, secrets = http_address(url)
        except ValueError as error:
            raise UserError(f"--url: {error}") from None
        if token and not (token.isascii() and token.isprintable()):
            # The error of the HTTP library quotes the header, and with it the token.
            raise UserError("--token (RIDELOG_TOKEN) has a character that no HTTP header carries")
        remember({*secrets, token or ""})
        self._url = url.rstrip("/")
        self._patience_s = patience_s
        self._first_patience_s = first_patience_s
        self._on_retry = on_retry
        self._answered = False
        self._closing = threading.Event()
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(30.0, connect=5.0),
            # A proxy of the environment would look for our loopback on its own machine.
            trust_env=httpx.URL(url).host not in {"127.0.0.1", "::1", "localhost"},
        )

    def post_pings(self, pings: Sequence[Ping]) -> PostReceipt:
        """Record pings; see ``post_encoded``."""
        return self.post_encoded([encode(ping) for ping in pings])

    def post_encoded(self, items: Sequence[bytes]) -> PostReceipt:
        """Record encoded pings, in as many requests as the limits ask for.

        Returns one receipt for all. Raises UserError if the server refuses or stays away: pings of this call may
        then be recorded or not, and it is safe to send them again.
        """
        receipt, sent = PostReceipt(), 0
        for part in split(items):
            receipt = receipt.then(self._post_part(part), sent)
            sent += len(part)
        return receipt

    def speed(self, rider_id: str, *, allow_expired: bool = False) -> SpeedAnswer | None:
        """The rider's speed, None for an unknown rider. Raises UserError if the server refuses or stays away."""
        query = "?allow_expired=true" if allow_expired else ""
        answer = self._send("GET", f"/riders/{quote(rider_id, safe='')}/speed{query}", None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            self._refused(answer)
        return read_speed(answer.content)

    def interrupt(self) -> None:
        """End every wait for a next attempt, now and later; requests under way are still answered."""
        self._closing.set()

    def close(self) -> None:
        """Give the connections back and end every wait."""
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
            # This server's limits are set lower than the usual ones.
            half = len(items) // 2
            return self._post_part(items[:half]).then(self._post_part(items[half:]), half)
        if answer.status_code != httpx.codes.OK:
            self._refused(answer)
        return read_receipt(answer.content, len(items))

    def _send(self, method: str, path: str, content: bytes | None) -> httpx.Response:
        began = time.monotonic()
        attempt = 0
        while True:
            retry_after: str | None = None
            try:
                answer = self._http.request(
                    method, self._url + path, content=content, headers={"Content-Type": "application/json"}
                )
                self._answered = True
                if answer.status_code not in RETRIED:
                    return answer
                reason = _words(answer)
                retry_after = answer.headers.get("retry-after")
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            patience = self._patience_s if self._answered else self._first_patience_s
            pause = retry_delay_s(attempt, retry_after, random.random())
            tried = time.monotonic() - began
            if tried + pause > patience:
                hint = "send again later, pings are recorded once" if self._answered else "is `serve` running there?"
                raise UserError(f"{self._shown} is away ({reason}), gave up after {tried:.0f} s; {hint}")
            self._on_retry(reason)
            if self._closing.wait(pause):
                raise UserError(f"interrupted while {self._shown} was away ({reason})")
            attempt += 1

    def _refused(self, answer: httpx.Response) -> NoReturn:
        hint = "; give --token or RIDELOG_TOKEN" if answer.status_code in {401, 403} else ""
        raise UserError(f"{self._shown} refused: {_words(answer)}{hint}")


def _words(answer: httpx.Response) -> str:
    try:
        told: Any = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        told = None
    detail = told.get("detail") if isinstance(told, dict) else None
    return f"{answer.status_code} {answer.reason_phrase}" + (f": {detail}" if detail else "")
