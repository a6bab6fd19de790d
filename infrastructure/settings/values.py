"""Pure rules about the values of settings: which hosts are this machine."""

from __future__ import annotations

import ipaddress


def is_loopback(name: str) -> bool:
    """Whether a host's name or address means this machine to everybody: no resolver is asked."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
