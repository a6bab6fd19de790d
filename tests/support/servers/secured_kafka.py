"""An Apache Kafka with TLS listeners that require a password or a client certificate."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trustme
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography.hazmat.primitives import serialization

from infrastructure.embedded.server import free_port
from tests.support.servers.apache_kafka import KafkaNode

CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA"
USER, PASSWORD = "ridelog", "p@ss:wörd"
"""A password with characters that must be escaped in a URL."""


class Files(NamedTuple):
    """PEM files: the authority, the client's certificate and its key."""

    authority: Path
    certificate: Path
    key: Path


class SecuredKafkaNode(KafkaNode):
    """Has two TLS listeners, ``sasl`` and ``mutual`` (host:port), and the plain one for the node's own tools."""

    def __init__(self, data_dir: Path, jars: Path) -> None:
        super().__init__(data_dir, jars, CLUSTER_ID, 1, {1: free_port()})
        self.sasl, self.mutual = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.files = Files(data_dir / "authority.pem", data_dir / "client.pem", data_dir / "client.key")
        self._store, self._trust = data_dir / "broker.pem", data_dir / "authority.pem"
        data_dir.mkdir(exist_ok=True)
        self._make_certificates()

    def _make_certificates(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.files.authority))
        broker, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("rider@example.org")
        # Java reads keys in PKCS #8 only.
        key = serialization.load_pem_private_key(broker.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._store.write_bytes(key + broker.cert_chain_pems[0].bytes())
        client.cert_chain_pems[0].write_to_path(str(self.files.certificate))
        client.private_key_pem.write_to_path(str(self.files.key))

    def _settings(self) -> dict[str, object]:
        plain = super()._settings()
        login = "org.apache.kafka.common.security"
        return plain | {
            "listeners": f"{plain['listeners']},INSIDE://{self.sasl},MUTUAL://{self.mutual}",
            "advertised.listeners": f"{plain['advertised.listeners']},INSIDE://{self.sasl},MUTUAL://{self.mutual}",
            "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},INSIDE:SASL_SSL,MUTUAL:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._trust,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.inside.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.inside.plain.sasl.jaas.config": (
                f'{login}.plain.PlainLoginModule required user_{USER}="{_escaped(PASSWORD)}";'
            ),
            "listener.name.inside.scram-sha-256.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
            "listener.name.inside.scram-sha-512.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
        }

    def create_user(self) -> None:
        """Create the user for both SCRAM mechanisms."""
        admin = AdminClient({"bootstrap.servers": self.url})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            made = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
            admin.alter_user_scram_credentials([made])[USER].result(30)


def _escaped(text: str) -> str:
    """Escaped for a Java properties file, which is in Latin-1."""
    return "".join(char if char.isascii() else f"\\u{ord(char):04x}" for char in text)
