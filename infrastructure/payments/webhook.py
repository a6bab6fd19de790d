"""Hands a payment over as a signed webhook, by the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the signature covers id,
timestamp and body, so a recorded request cannot be sent again later with another time or amount.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import httpx

from infrastructure.payments.provider import AnswerKind, Payment, ProviderAnswer
from infrastructure.settings.payment_provider import payments_address, secret_bytes

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
"""Bounds one call, so that a provider that never answers holds up only its rider."""
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

    def __init__(self, url: str, secret: str, now_s: Callable[[], float]) -> None:
        """Raises ValueError for an address or a secret that no payment may be sent with."""
        payments_address(url)
        self._url = url
        self._key = secret_bytes(secret)
        self._now_s = now_s
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        # Proxies and credentials of the environment are not used: the setting alone says where money goes.
        self._client = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False)

    def hand_over(self, payment: Payment) -> ProviderAnswer:
        """Post the payment once."""
        body, timestamp_s = body_of(payment), int(self._now_s())
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": payment.entry_id,
            "webhook-id": payment.entry_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(self._key, payment.entry_id, timestamp_s, body),
        }
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                return answer_of(response.status_code, response.headers.get("retry-after", ""), _digest(response))
        except httpx.HTTPError as error:
            return ProviderAnswer(AnswerKind.RETRY, 0, "", f"no answer: {type(error).__name__}")

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


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


def _digest(response: httpx.Response) -> str:
    """SHA-256 of the body as it came; of its beginning, if it is too long or comes too slowly."""
    found, size, until = sha256(), 0, time.monotonic() + ANSWER_TIMEOUT_S
    for chunk in response.iter_raw():
        size += len(chunk)
        found.update(chunk)
        if size > MAX_ANSWER_BYTES or time.monotonic() > until:
            break
    return found.hexdigest() if size else ""
