"""The settings of a Python worker of the job: those of its TaskManager's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from infrastructure.errors import UserError
from infrastructure.flink.statements import CLIENT_KEY, PASSWORD, USERNAME
from infrastructure.settings.kafka_address import KafkaAddress, kafka_address
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import use_packaged_time_zones

PKCS8 = "-----BEGIN PRIVATE KEY-----"
NEEDED = ("postgres_url", "redis_url", "kafka_bootstrap")


def worker_settings(partitions: int | None = None, needed: Sequence[str] = NEEDED) -> Settings:
    """Read the environment. ``needed``: addresses. ``partitions``: of the topic that the job reads, if it reads one.

    From here on the worker uses the packaged rules of time zones: its machine may have others than `serve` has.
    Raises UserError for a missing address, and for a login or key of Kafka that the environment lacks.
    """
    use_packaged_time_zones()
    settings = Settings.load(toml=None)
    if missing := [f"RIDELOG_{name.upper()}" for name in needed if getattr(settings, name) is None]:
        raise UserError(
            f"the TaskManager's environment lacks {', '.join(missing)}: set them where it starts, as for `serve`"
        )
    if partitions is None:
        return settings
    assert settings.kafka_bootstrap is not None
    check_java_client(kafka_address(settings.kafka_bootstrap), os.environ)
    return msgspec.structs.replace(settings, topic_partitions=partitions)


def check_java_client(address: KafkaAddress, environment: Mapping[str, str]) -> None:
    """Raises UserError if ``environment`` lacks what Kafka's client in Java takes from it for this address.

    That client would use the name of the variable as the login or key, and be rejected without end.
    """
    wanted = {*((USERNAME, PASSWORD) if address.mechanism else ()), *((CLIENT_KEY,) if address.certfile else ())}
    if lacking := sorted(name for name in wanted if not environment.get(name)):
        raise UserError(
            f"Kafka wants a login or a certificate, and the TaskManager's environment lacks {', '.join(lacking)}: "
            "docs/flink.md"
        )
    if CLIENT_KEY in wanted and PKCS8 not in environment[CLIENT_KEY]:
        raise UserError(f"{CLIENT_KEY} is no key in PKCS #8, which begins with {PKCS8}: docs/flink.md")
