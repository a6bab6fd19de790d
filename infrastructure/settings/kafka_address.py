"""Parses ``RIDELOG_KAFKA_BOOTSTRAP`` into brokers and credentials, as settings of both Kafka client libraries."""

from __future__ import annotations

import os.path
import re
import ssl
from typing import Any, NamedTuple
from urllib.parse import unquote

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
FILES = ("cafile", "certfile", "keyfile")
FORMS = "host:port,… or [sasl_]ssl://[user:password@]host:port,…[?mechanism=…&cafile=…&certfile=…&keyfile=…]"

# Match the whole authority before its parts: the code that hides passwords ends it at the same characters.
_AUTHORITY = re.compile(r"(?:(?P<user>[^/?#]*)@)?(?P<servers>[^/?#@]*)")
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+):(?P<port>[0-9]{1,5})")


class KafkaAddress(NamedTuple):
    """``servers``: host:port,…. ``str()`` and ``repr()`` show only the servers, so that no message shows a password.

    ``cafile``: PEM of the authority that signed the brokers' certificates; if empty, the system's authorities.
    ``certfile`` and ``keyfile``: PEM of the client's certificate and key, for brokers that require one.
    """

    servers: str
    protocol: str = "plaintext"
    mechanism: str = ""
    username: str = ""
    password: str = ""
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""

    def __str__(self) -> str:
        return self.servers

    def __repr__(self) -> str:
        return f"KafkaAddress({self.servers})"

    @property
    def hint(self) -> str:
        """A further cause to name when a broker does not answer: libraries report wrong credentials in the same way."""
        if self.protocol == "plaintext":
            return ""
        return " (or rejects the login: see protocol, user, password and files of RIDELOG_KAFKA_BOOTSTRAP)"

    def librdkafka(self) -> dict[str, Any]:
        """The settings of confluent-kafka."""
        return _given(
            {
                "bootstrap.servers": self.servers,
                "security.protocol": self.protocol,
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
                "ssl.ca.location": self.cafile,
                "ssl.certificate.location": self.certfile,
                "ssl.key.location": self.keyfile,
            }
        )

    def kafka_python(self) -> dict[str, Any]:
        """The settings of kafka-python."""
        return _given(
            {
                "bootstrap_servers": self.servers.split(","),
                "security_protocol": self.protocol.upper(),
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
                "ssl_cafile": self.cafile,
                "ssl_certfile": self.certfile,
                "ssl_keyfile": self.keyfile,
            }
        )


def kafka_address(bootstrap: str) -> KafkaAddress:
    """Parse one of ``FORMS``. Raises ValueError for anything else, with a message that quotes no secret."""
    protocol, rest = _protocol(bootstrap)
    rest, marked, query = rest.partition("?")
    authority = _AUTHORITY.fullmatch(rest)
    if authority is None:
        raise ValueError(f"in user and password / is %2F, # is %23, ? is %3F and @ is %40; write {FORMS}")
    for server in authority["servers"].split(","):
        found = _SERVER.fullmatch(server)
        if found is None or not 0 < int(found["port"]) < 65_536:
            raise ValueError(f"a server is no host:port; write {FORMS}")
    by_sasl = protocol.startswith("sasl_")
    username, _, password = (unquote(part) for part in (authority["user"] or "").partition(":"))
    if by_sasl and not (username and password):
        raise ValueError(f"{protocol} needs a user and a password; write {FORMS}")
    if not by_sasl and authority["user"] is not None:
        raise ValueError(f"{protocol} has no use for a user and a password; write {FORMS}")
    options = _options(query if marked else None)
    mechanism = options.pop("mechanism", "PLAIN" if by_sasl else "")
    if by_sasl and mechanism not in MECHANISMS:
        raise ValueError(f"the mechanism is none of {', '.join(MECHANISMS)}")
    if ("certfile" in options) != ("keyfile" in options):
        raise ValueError("certfile and keyfile belong together")
    if (mechanism and not by_sasl) or (options and not protocol.endswith("ssl")):
        raise ValueError(f"{protocol} has no use for {', '.join(options) or 'a mechanism'}")
    return KafkaAddress(authority["servers"], protocol, mechanism, username, password, **options)


def _protocol(bootstrap: str) -> tuple[str, str]:
    scheme, separator, rest = bootstrap.partition("://")
    if not separator:
        return "plaintext", bootstrap
    if scheme.lower() not in PROTOCOLS:
        raise ValueError(f"the protocol is none of {', '.join(PROTOCOLS)}; write {FORMS}")
    return scheme.lower(), rest


def _options(query: str | None) -> dict[str, str]:
    options = {}
    for option in () if query is None else query.split("&"):
        name, _, value = option.partition("=")
        if name not in {"mechanism", *FILES}:
            raise ValueError(f"what follows the question mark is mechanism, cafile, certfile or keyfile; write {FORMS}")
        # An empty value, from a variable that is not set, must not mean the weaker default.
        if not value or name in options:
            raise ValueError(f"{name} is empty, or given twice")
        options[name] = unquote(value)
    return options


def check_files(address: KafkaAddress) -> None:
    """Check the PEM files. Raises ValueError. A client library would only report that the broker does not answer."""
    given = {name: path for name in FILES if (path := getattr(address, name))}
    for name, path in given.items():
        if not os.path.isfile(path):
            raise ValueError(f"{name}: {path} is no file that can be read")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if address.cafile:
            context.load_verify_locations(address.cafile)
        if address.certfile:
            # A key that needs a password is rejected: no setting has that password.
            context.load_cert_chain(address.certfile, address.keyfile, password="")
    except (OSError, ValueError) as error:
        raise ValueError(f"{', '.join(given)}: no certificates and keys in PEM: {error}") from error


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value}
