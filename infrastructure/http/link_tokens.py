"""Signs and checks the tokens in customers' links: each opens one order until it expires, and nothing else."""

from __future__ import annotations

import hashlib
from typing import Final

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

MAX_TOKEN_CHARS: Final = 2_560
"""The longest token that is checked: an id of 128 code points, each of 12 characters in JSON, gives 2,170 at most."""

_PURPOSE: Final = "ridelog.delivery-link.1"
"""Part of the key, so that nothing else that the secret signs is a link."""


class LinkTokens:
    """Makes and opens tokens with one secret; the library compares signatures in constant time."""

    def __init__(self, secret: str | bytes) -> None:
        self._serializer = URLSafeSerializer(
            secret, salt=_PURPOSE, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )

    def sign(self, order_id: str, expires_ms: int) -> str:
        """The token of an order until ``expires_ms`` (epoch milliseconds)."""
        token = self._serializer.dumps([order_id, expires_ms])
        return token if isinstance(token, str) else token.decode()

    def order_of(self, token: str, now_ms: int) -> str | None:
        """The order that the token opens; None if it is forged, changed, cut or expired."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        try:
            order_id, expires_ms = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            return None
        if type(order_id) is not str or type(expires_ms) is not int:
            return None
        # The last character of a signature has bits that no byte uses: another one there would be a second token.
        signature = token.rpartition(".")[2]
        if base64_encode(base64_decode(signature)).decode() != signature:
            return None
        return order_id if now_ms < expires_ms else None
