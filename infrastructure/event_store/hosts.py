"""Several servers in one URL of PostgreSQL, of which the one that takes writes is used."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from sqlalchemy.engine import URL

PORT = "5432"
# libpq's form, a port with each host. SQLAlchemy reads several hosts with one port for all, and several in the query.
_SERVERS = re.compile(r"(?P<head>[^:/?#]+://(?:.*@)?)(?P<servers>[^/?#@]*,[^/?#@]*)(?P<tail>[/?].*)?", re.DOTALL)
_SERVER = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>\d*))?")


def with_hosts_in_query(url: str) -> str:
    """``…@h1:1,h2:2/db`` as ``…@/db?host=h1,h2&port=1,2``; any other URL as it is."""
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
    """What SQLAlchemy hands to libpq for ``url``, for a connection that is not of an engine.

    Raises ArgumentError for hosts that do not fit their ports.
    """
    _, parameters = url.get_dialect()().create_connect_args(url)
    return {name: str(value) for name, value in parameters.items()}


def preferred_server(url: URL) -> dict[str, str]:
    """Of several servers the one that takes writes, unless the URL or the environment says otherwise.

    A standby would be taken for a server that is read-only for a while, and be asked for ever.
    """
    several = "," in libpq_parameters(url).get("host", "")
    if not several or "target_session_attrs" in url.query or "PGTARGETSESSIONATTRS" in os.environ:
        return {}
    return {"target_session_attrs": "read-write"}
