"""Pure rules about the values of settings: tokens and the passwords inside URLs."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, cast

from infrastructure.settings_sources import SettingsError

ROLES = ("ingest", "read", "admin")
_USERINFO = re.compile(r"(?P<head>[a-z][a-z0-9+._-]*://[^/?#]*?:)(?P<secret>[^/?#]*)(?P<tail>@)", re.IGNORECASE)
_PARAMETER = re.compile(r"(?P<head>(?:^|[?&\s])(?:ssl)?pass(?:word|phrase)?=)(?P<secret>[^&\s]*)", re.IGNORECASE)


def parse_tokens(text: str) -> dict[str, Literal["ingest", "read", "admin"]]:
    """``ingest=a,read=b,read=c`` -> {"a": "ingest", "b": "read", "c": "read"}.

    Raises SettingsError on an unknown role, an empty token or one token given to two roles; the message
    never shows a token.
    """
    tokens: dict[str, Literal["ingest", "read", "admin"]] = {}
    for index, part in enumerate(filter(None, (piece.strip() for piece in text.split(","))), start=1):
        role, _, token = part.partition("=")
        role, token = role.strip(), token.strip()
        if role not in ROLES or not token:
            raise SettingsError(
                f"tokens: item {index} is not role=token; write for instance "
                f"RIDELOG_TOKENS=ingest=…,read=…,admin=… with the roles {', '.join(ROLES)}"
            )
        if tokens.setdefault(token, cast("Literal['ingest', 'read', 'admin']", role)) != role:
            raise SettingsError(f"tokens: item {index} repeats the token of another role; give each role its own")
    return tokens


def hide_password(url: str) -> str:
    """The URL with the password of its user part and of its parameters replaced by ``***``."""
    return _PARAMETER.sub(r"\g<head>***", _USERINFO.sub(r"\g<head>***\g<tail>", url))


def is_loopback(name: str) -> bool:
    """Whether a host's name or address means this machine to everybody: no resolver is asked."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
