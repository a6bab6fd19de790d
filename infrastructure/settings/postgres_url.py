"""The URL of a PostgreSQL database, read as libpq reads it: several hosts, a port with each."""

from __future__ import annotations

import re
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from infrastructure.errors import UserError

PORT = "5432"
# libpq's form has a port with each host. SQLAlchemy accepts several hosts with one port, or several in the query.
_SERVERS = re.compile(r"(?P<head>[^:/?#]+://(?:.*@)?)(?P<servers>[^/?#@]*,[^/?#@]*)(?P<tail>[/?].*)?", re.DOTALL)
_SERVER = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>\d*))?")


def with_hosts_in_query(url: str) -> str:
    """Returns ``…@h1:1,h2:2/db`` as ``…@/db?host=h1,h2&port=1,2``, and any other URL unchanged."""
    found = _SERVERS.fullmatch(url)
    if found is None:
        return url
    servers = [_SERVER.fullmatch(one) for one in found["servers"].split(",")]
    known = [one for one in servers if one is not None]
    if len(known) < len(servers) or (found["servers"].count(":") < 2 and "[" not in found["servers"]):
        return url
    hosts = ",".join(one["v6"] or one["name"] for one in known)
    ports = ",".join(one["port"] or PORT for one in known)
    tail = found["tail"] or "/"
    tail = tail if tail.startswith("/") else f"/{tail}"
    return f"{found['head']}{tail}{'&' if '?' in tail else '?'}host={quote(hosts, safe=',')}&port={ports}"


def libpq_parameters(url: URL) -> dict[str, str]:
    """Returns what SQLAlchemy passes to libpq for ``url``, for connections that no engine opens.

    Raises ArgumentError for hosts that do not fit their ports.
    """
    _, parameters = url.get_dialect()().create_connect_args(url)
    return {name: str(value) for name, value in parameters.items()}


def sqlalchemy_url(url: str, setting: str = "RIDELOG_POSTGRES_URL") -> URL:
    """Converts a libpq-style URL for SQLAlchemy, always with psycopg2 (it supports the replication protocol).

    Raises UserError for a text that is no URL, naming the ``setting``.
    """
    try:
        address = make_url(with_hosts_in_query(url)).set(drivername="postgresql+psycopg2")
        libpq_parameters(address)
        return address
    except (ArgumentError, ValueError):
        # The message of the error is left out: it may contain a password.
        raise UserError(
            f"{setting} is no URL of a database, such as postgresql://user:password@host:5432/name"
        ) from None
