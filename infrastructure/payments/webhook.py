"""Hands a payment over as a signed webhook, by the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the signature covers id,
timestamp and body, so a recorded request cannot be sent again later with another time or amount.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final

import httpx

from infrastructure.payments.provider import AnswerKind, Payment, ProviderAnswer
from infrastructure.settings.payment_provider import payments_address, secret_bytes

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 14.0
"""Bounds one call in all: name look-up, connection, request, headers and body. A limit of each read alone would let a
provider that sends a byte a second hold up its rider, and the end of the process, for ever. Below BOOKED_AFTER_S."""
CLOSE_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
"""More of an answer is not read: only its status decides, and its digest is kept."""
MAX_RETRY_AFTER_S = 3_600.0
"""Bounds what a provider can ask for (invariant 16)."""
_RETRIED: Final = {408, 425, 429}
_KEY_IN_USE: Final = 409
"""An earlier request with this key is in progress (draft-ietf-httpapi-idempotency-key-header, 2.6), or is booked."""


def body_of(payment: Payment) -> bytes:
    """Canonical JSON: a repeated hand-over has the same bytes."""
    return json.dumps(payment._asdict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of ``webhook-signature``: HMAC-SHA256 over ``id.timestamp.body``, base64, version 1."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()


class WebhookProvider:
    """Posts each payment to one address. Redirects are not followed: a signed body goes to no other host."""

    def __init__(
        self, url: str, secret: str, now_s: Callable[[], float], call_timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        """Raises ValueError for an address or a secret that no payment may be sent with."""
        payments_address(url)
        self._url = url
        self._key = secret_bytes(secret)
        self._now_s = now_s
        self._call_timeout_s = call_timeout_s
        timeout = httpx.Timeout(call_timeout_s, connect=CONNECT_TIMEOUT_S)
        # Proxies and credentials of the environment are not used: the setting alone says where money goes.
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)
        # A call can be cancelled at its limit, wherever it waits, only in an event loop. All calls share one.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="payment-calls", daemon=True)
        self._thread.start()

    def hand_over(self, payment: Payment) -> ProviderAnswer:
        """Post the payment once, within CALL_TIMEOUT_S. Blocks."""
        body, timestamp_s = body_of(payment), int(self._now_s())
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": payment.entry_id,
            "webhook-id": payment.entry_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(self._key, payment.entry_id, timestamp_s, body),
        }
        request = self._client.build_request("POST", self._url, content=body, headers=headers)
        try:
            return asyncio.run_coroutine_threadsafe(self._post(request), self._loop).result()
        except (httpx.HTTPError, TimeoutError) as error:
            return ProviderAnswer(AnswerKind.RETRY, 0, "", f"no answer: {type(error).__name__}")

    async def _post(self, request: httpx.Request) -> ProviderAnswer:
        until = self._loop.time() + self._call_timeout_s
        async with asyncio.timeout_at(until):
            response = await self._client.send(request, stream=True)
        try:
            digest = await _digest(response, until)
        finally:
            await response.aclose()
        return answer_of(response.status_code, response.headers.get("retry-after", ""), digest)

    def close(self) -> None:
        """Close all connections. No call may be in progress."""
        closing = asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop)
        # A connection that cannot be closed in time ends with the process.
        with suppress(TimeoutError):
            closing.result(CLOSE_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._loop.close()


def answer_of(status: int, retry_after: str, digest: str) -> ProviderAnswer:
    """What a status means. Anything but a clear yes or a clear no is repeated: the key makes that safe."""
    reason = f"status {status}"
    if 200 <= status < 300:
        return ProviderAnswer(AnswerKind.DONE, status, digest, reason)
    if status == _KEY_IN_USE:
        return ProviderAnswer(AnswerKind.CONFLICT, status, digest, reason, retry_after_s(retry_after))
    if status in _RETRIED or status >= 500:
        return ProviderAnswer(AnswerKind.RETRY, status, digest, reason, retry_after_s(retry_after))
    return ProviderAnswer(AnswerKind.REFUSED, status, digest, reason)


def retry_after_s(header: str) -> float:
    """Seconds of a ``Retry-After`` header, at most MAX_RETRY_AFTER_S; 0 for a date or anything else."""
    return min(float(header), MAX_RETRY_AFTER_S) if header.isascii() and header.isdigit() else 0.0


async def _digest(response: httpx.Response, until: float) -> str:
    """SHA-256 of the body as it came; of its beginning, if it is too long, broken, or not complete at ``until``."""
    found, size = sha256(), 0
    # The status is known, and it alone decides: a body that is late or broken changes nothing. A provider that ends
    # each answer short of its length would else be sent what it has booked, or refused, again for ever.
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout_at(until):
            async for chunk in response.aiter_raw():
                size += len(chunk)
                found.update(chunk)
                if size > MAX_ANSWER_BYTES:
                    break
    return found.hexdigest() if size else ""
