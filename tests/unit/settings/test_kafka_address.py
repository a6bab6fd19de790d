"""The forms of Kafka's address, and the settings that both client libraries get from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from infrastructure.settings.kafka_address import kafka_address
from infrastructure.settings.settings import Settings, SettingsError


@pytest.mark.parametrize(
    "bootstrap", ["kafka:9092", "10.0.0.1:9092,10.0.0.2:9093", "[::1]:9092", "b-1.x.amazonaws.com:9096"]
)
@pytest.mark.parametrize("scheme", ["", "plaintext://", "PLAINTEXT://"])
def test_servers_without_credentials_use_plaintext(bootstrap: str, scheme: str) -> None:
    address = kafka_address(scheme + bootstrap)
    assert address.librdkafka() == {"bootstrap.servers": bootstrap, "security.protocol": "plaintext"}
    assert address.kafka_python() == {
        "bootstrap_servers": bootstrap.split(","),
        "security_protocol": "PLAINTEXT",
    }


def test_a_user_a_password_and_an_authority(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    address = kafka_address(
        f"sasl_ssl://rider%40log:p%3Aw@a:9096,b:9096?mechanism=SCRAM-SHA-512&cafile={tmp_path}/ca.pem"
    )
    assert address.librdkafka() == {
        "bootstrap.servers": "a:9096,b:9096",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "rider@log",
        "sasl.password": "p:w",
        "ssl.ca.location": f"{tmp_path}/ca.pem",
    }
    assert address.kafka_python() == {
        "bootstrap_servers": ["a:9096", "b:9096"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "rider@log",
        "sasl_plain_password": "p:w",
        "ssl_cafile": f"{tmp_path}/ca.pem",
    }
    assert str(address) == "a:9096,b:9096"
    assert "p:w" not in repr(address)


def test_the_simplest_mechanism_is_the_default() -> None:
    assert kafka_address("sasl_plaintext://u:p@a:9092").mechanism == "PLAIN"


@pytest.mark.parametrize(
    ("bootstrap", "message"),
    [
        ("", "host:port"),
        ("kafka", "host:port"),
        ("kafka:0", "host:port"),
        ("kafka:99999", "host:port"),
        ("a:9092,", "host:port"),
        ("a:9092,b c:9092", "host:port"),
        ("http://a:9092", "protocol"),
        ("u:hunter2@a:9092", "no use for a user"),
        (":hunter2@a:9092", "no use for a user"),
        ("ssl://u:hunter2@a:9092", "no use for a user"),
        ("ssl://:hunter2@a:9092", "no use for a user"),
        ("sasl_ssl://a:9092", "needs a user and a password"),
        ("sasl_ssl://:hunter2@a:9092", "needs a user and a password"),
        ("sasl_ssl://u:@a:9092", "needs a user and a password"),
        ("sasl_ssl://u:hun/ter2@a:9092", "/ is %2F"),
        ("sasl_ssl://u:hun#ter2@a:9092", "/ is %2F"),
        ("sasl_ssl://u:hunter2@a:9092/", "/ is %2F"),
        ("sasl_ssl://u:hun?ter2@a:9092", "host:port"),
        ("sasl_plaintext://u:hunter2@a:9092?mechanism=", "mechanism is empty"),
        ("sasl_ssl://u:hunter2@a:9092?cafile=", "cafile is empty"),
        ("ssl://a:9092?", "what follows the question mark"),
        ("sasl_ssl://u:hunter2@a:9092?mechanism=GSSAPI", "mechanism is none of"),
        ("ssl://a:9092?mechanism=PLAIN", "no use for a mechanism"),
        ("a:9092?cafile=FILE", "no use for cafile"),
        ("ssl://a:9092?cafile=FILE", "no certificates and keys in PEM"),
        ("ssl://a:9092?certfile=FILE&keyfile=FILE", "no certificates and keys in PEM"),
        ("sasl_plaintext://u:hunter2@a:9092?cafile=FILE", "no use for cafile"),
        ("ssl://a:9092?cafile=/no/such/file", "is no file"),
        ("ssl://a:9092?certfile=FILE", "belong together"),
        ("ssl://a:9092?verify=no", "what follows the question mark"),
        ("ssl://a:9092?cafile", "cafile is empty"),
    ],
)
def test_a_malformed_address_is_rejected_at_the_start_and_no_secret_is_quoted(
    bootstrap: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "file.pem").touch()
    with pytest.raises(SettingsError, match=message) as error:
        Settings(kafka_bootstrap=bootstrap.replace("FILE", str(tmp_path / "file.pem")))
    assert "kafka_bootstrap" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("bootstrap", "shown"),
    [
        ("kafka:9092", "kafka:9092"),
        ("sasl_ssl://u:hunter2@a:9092,b:9092?mechanism=PLAIN", "sasl_ssl://a:9092,b:9092"),
    ],
)
def test_the_shown_address_hides_the_password(bootstrap: str, shown: str) -> None:
    assert Settings(kafka_bootstrap=bootstrap).public()["kafka_bootstrap"] == shown
