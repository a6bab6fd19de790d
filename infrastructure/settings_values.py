"""Pure rules about the values of settings: hosts and the passwords inside URLs."""

from __future__ import annotations

import ipaddress
import re

_USERINFO = re.compile(r"(?P<head>[a-z][a-z0-9+._-]*://[^/?#]*?:)(?P<secret>[^/?#]*)(?P<tail>@)", re.IGNORECASE)
_PARAMETER = re.compile(r"(?P<head>(?:^|[?&\s])(?:ssl)?pass(?:word|phrase)?=)(?P<secret>[^&\s]*)", re.IGNORECASE)


def hide_password(url: str) -> str:
    """The URL with the password of its user part and of its parameters replaced by ``***``."""
    return _PARAMETER.sub(r"\g<head>***", _USERINFO.sub(r"\g<head>***\g<tail>", url))


def is_loopback(name: str) -> bool:
    """Whether a host's name or address means this machine to everybody: no resolver is asked."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
