"""Checks the address and the secret of the payment provider: they decide where money goes."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from infrastructure.settings.addresses import Address
from infrastructure.settings.values import is_loopback

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of the specification, no secret
MIN_SECRET_BYTES = 24
"""Standard Webhooks asks for 24 to 64 bytes; a shorter secret could be guessed from one request, offline."""
MIN_HIDDEN_CHARS = 16
"""A shorter part of a path is no secret; if it were hidden, so would every such word of a log."""
_EXPECTED = "write https://host/path"


def payments_address(url: str) -> Address:
    """The address of the provider. Raises ValueError, with a message that quotes nothing of ``url``.

    Its path and its parameters are not shown: some providers put a secret there.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"it cannot be read; {_EXPECTED}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"it is no http(s) URL; {_EXPECTED}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"it has a user or a password, and every request is signed instead; {_EXPECTED}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"amounts would go over the network in clear text; {_EXPECTED}")
    shown_host = f"[{host}]" if ":" in host else host
    hidden = {part for part in (*parts.path.split("/"), parts.query) if len(part) >= MIN_HIDDEN_CHARS}
    return Address(f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}", frozenset(hidden))


def secret_bytes(secret: str) -> bytes:
    """The key of the signature: the base64 after ``whsec_``, else the text itself.

    Raises ValueError, with a message that quotes nothing of ``secret``.
    """
    key = secret.encode()
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {SECRET_PREFIX} must be base64") from None
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"at least {MIN_SECRET_BYTES} bytes are expected")
    return key
