"""Checks the settings that are addresses, and extracts the part that messages may show: host and database.

Each address is parsed as the library that connects parses it. An address that the library would misread is rejected by
a message that quotes nothing of it: the host of ``postgresql://u:pa@ss@h/db`` would be ``ss@h``, and the error of the
resolver would show that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from infrastructure.settings.map_tiles import map_tiles
from infrastructure.settings.redis_address import cluster_address, is_cluster_url

ESCAPES = "in user and password / is %2F, # is %23, ? is %3F, @ is %40 and : is %3A"
MAX_PORT = 65_535
_HOSTS = re.compile(r"[\w.:,%\[\]-]*")
_HARMLESS = {
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "connect_timeout",
    "application_name",
    "target_session_attrs",
    "client_encoding",
    "db",
    "protocol",
}
"""Parameters of a URL whose values are not secret."""


class Address(NamedTuple):
    """``shown``: may appear in every message. ``secrets``: may appear in no message."""

    shown: str
    secrets: frozenset[str] = frozenset()


def postgres_address(url: str) -> Address:
    """The address of PostgreSQL. Raises ValueError, with a message that quotes nothing of ``url``."""
    import psycopg2

    from infrastructure.errors import UserError
    from infrastructure.settings.postgres_url import sqlalchemy_url

    wanted = f"write postgresql://user:password@host:5432/name; {ESCAPES}"
    if url.partition(":")[0].partition("+")[0].lower() not in {"postgresql", "postgres"}:
        raise ValueError(f"it is no URL of PostgreSQL; {wanted}")
    try:
        address = sqlalchemy_url(url)
        # SQLAlchemy passes these names on; libpq checks them.
        psycopg2.extensions.make_dsn(**dict.fromkeys(address.query, ""))
    except (UserError, ValueError, TypeError, psycopg2.Error):
        raise ValueError(f"it cannot be read, or has a parameter that libpq does not know; {wanted}") from None
    hosts, port, database = address.host or "", address.port or 0, address.database or ""
    if not _HOSTS.fullmatch(hosts) or port > MAX_PORT or "@" in database or "/" in database:
        raise ValueError(f"host, port or database are none; {wanted}")
    others = {name: (values,) if isinstance(values, str) else values for name, values in address.query.items()}
    where = ",".join(others.get("host", ()))
    if where and not hosts and not where.startswith("/"):
        hosts, where = where, ""
    shown_host = f"[{hosts}]" if hosts.count(":") > 1 and not set(hosts) & set("[,") else hosts
    shown = f"postgresql://{shown_host}{f':{port}' if port else ''}/{database}"
    values = {value for name, found in others.items() if name not in _HARMLESS for value in found}
    return Address(shown + (f"?host={where}" if where else ""), _secrets({str(address.password or "")} | values))


def redis_address(url: str) -> Address:
    """The address of Redis. Raises ValueError, with a message that quotes nothing of ``url``."""
    import redis

    if is_cluster_url(url):
        return _redis_cluster_address(url)
    try:
        found = dict(redis.connection.parse_url(url))  # type: ignore[no-untyped-call]
        # An unknown parameter would otherwise fail at the first use, with a TypeError.
        redis.ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError, redis.RedisError):
        raise ValueError(f"it is no URL of Redis; write redis://user:password@host:6379/0; {ESCAPES}") from None
    host, port, database = str(found.get("host", "localhost")), int(found.get("port", 6379)), found.get("db", 0)
    if not _HOSTS.fullmatch(host) or port > MAX_PORT:
        raise ValueError(f"host or port are none; write redis://user:password@host:6379/0; {ESCAPES}")
    scheme = url.partition("://")[0]
    shown_host = f"[{host}]" if ":" in host else host
    shown = f"unix://{found['path']}" if "path" in found else f"{scheme}://{shown_host}:{port}/{database}"
    hidden = {str(value) for name, value in found.items() if name not in _HARMLESS and isinstance(value, str)}
    return Address(shown, _secrets(hidden - {str(found.get("path", ""))}))


def _redis_cluster_address(url: str) -> Address:
    try:
        found = cluster_address(url)
        # The first node's URL has all that is secret, and is parsed as that of a single server.
        of_node = redis_address(found.url_of(found.nodes[0]))
    except ValueError:
        raise ValueError(
            "it is no URL of a Redis Cluster, which has no database but 0; write "
            f"redis+cluster://user:password@host:6379,host:6379; {ESCAPES}"
        ) from None
    return Address(f"{found.scheme}+cluster://{','.join(map(str, found.nodes))}", of_node.secrets)


def kafka_shown(bootstrap: str) -> Address:
    """The address of Kafka. Raises ValueError, with a message that quotes no secret."""
    from infrastructure.settings.kafka_address import kafka_address

    found = kafka_address(bootstrap)
    shown = found.servers if found.protocol == "plaintext" else f"{found.protocol}://{found.servers}"
    return Address(shown, _secrets({found.password}))


def http_address(url: str) -> Address:
    """The address of an HTTP server. Raises ValueError, with a message that quotes nothing of ``url``."""
    import httpx

    wanted = f"write http://host:port; {ESCAPES}"
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ValueError(f"it is no URL; {wanted}") from None
    if found.scheme not in {"http", "https"} or not found.host or not _HOSTS.fullmatch(found.host) or found.fragment:
        raise ValueError(f"it is no URL of a server; {wanted}")
    host = f"[{found.host}]" if ":" in found.host else found.host
    port = f":{found.port}" if found.port else ""
    hidden = {found.username, found.password, *(value for _, value in found.params.multi_items())}
    return Address(f"{found.scheme}://{host}{port}{found.path.rstrip('/')}", _secrets(hidden))


def payments_address(url: str) -> Address:
    """The address of the payment provider. Raises ValueError, with a message that quotes nothing of ``url``."""
    from infrastructure.settings import payment_provider

    return payment_provider.payments_address(url)


def tiles_address(template: str) -> Address:
    """The address of map tiles. Raises ValueError, with a message that quotes nothing of ``template``."""
    found = map_tiles(template)
    return Address(found.shown, _secrets(set(found.secrets)))


ADDRESSES: dict[str, Callable[[str], Address]] = {
    "postgres_url": postgres_address,
    "postgres_replication_url": postgres_address,
    "redis_url": redis_address,
    "kafka_bootstrap": kafka_shown,
    "schema_registry_url": http_address,
    "payments_url": payments_address,
    "flink_url": http_address,
    "map_tiles": tiles_address,
}
"""The settings that are addresses -> how each is parsed."""


def shown(setting: str, value: str) -> str:
    """What a message may show of the ``value`` of an address. Raises ValueError if it is not an address."""
    return ADDRESSES[setting](value).shown


def _secrets(values: set[str]) -> frozenset[str]:
    """The values as they are, and percent-encoded as in a URL."""
    return frozenset(form for value in values if value for form in (value, quote(value, safe="")))
