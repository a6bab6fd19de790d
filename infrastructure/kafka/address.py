"""Where Kafka is and how one gets in: what ``RIDELOG_KAFKA_BOOTSTRAP`` says, in the words of both client libraries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
FILES = ("cafile", "certfile", "keyfile")
FORMS = "host:port,… or [sasl_]ssl://[user:password@]host:port,…[?mechanism=…&cafile=…&certfile=…&keyfile=…]"

_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/?#@,\[\]]+):(?P<port>[0-9]{1,5})")


class KafkaAddress(NamedTuple):
    """``servers``: host:port,…; as a string it is them alone, so that no message shows a password.

    ``cafile``: PEM of who signed the brokers' certificates, the system's if empty; ``certfile`` and ``keyfile``: PEM
    of our own, for brokers that ask for one.
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

    def librdkafka(self) -> dict[str, Any]:
        """Settings of confluent-kafka."""
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
        """Settings of kafka-python."""
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
    """Raises ValueError for what is none of ``FORMS``, in words that repeat nothing secret."""
    scheme, separator, rest = bootstrap.rpartition("://")
    protocol = scheme.lower() if separator else "plaintext"
    if protocol not in PROTOCOLS:
        raise ValueError(f"the protocol is none of {', '.join(PROTOCOLS)}; write {FORMS}")
    rest, _, query = rest.partition("?")
    userinfo, _, servers = rest.rpartition("@")
    for server in servers.split(","):
        found = _SERVER.fullmatch(server)
        if found is None or not 0 < int(found["port"]) < 65_536:
            raise ValueError(f"a server is no host:port; write {FORMS}")
    options = _options(query)
    username, _, password = (unquote(part) for part in userinfo.partition(":"))
    by_sasl = protocol.startswith("sasl_")
    if by_sasl != bool(username and password):
        raise ValueError(f"a user and a password belong to sasl_ssl and sasl_plaintext, and are needed there: {FORMS}")
    mechanism = options.pop("mechanism", "PLAIN" if by_sasl else "")
    if by_sasl and mechanism not in MECHANISMS:
        raise ValueError(f"the mechanism is none of {', '.join(MECHANISMS)}")
    if (mechanism and not by_sasl) or (options and not protocol.endswith("ssl")):
        raise ValueError(f"{protocol} has no use for {', '.join(options) or 'a mechanism'}")
    if ("certfile" in options) != ("keyfile" in options):
        raise ValueError("certfile and keyfile belong together")
    return KafkaAddress(servers, protocol, mechanism, username, password, **options)


def _options(query: str) -> dict[str, str]:
    try:
        options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        raise ValueError(f"what follows the question mark is not name=value&…; write {FORMS}") from None
    unknown = options.keys() - {"mechanism", *FILES}
    if unknown:
        raise ValueError(f"there is no option {', '.join(sorted(unknown))}; write {FORMS}")
    for name in FILES:
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"{name}: {options[name]} is no file")
    return options


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value}
