"""The settings of a Python worker of the job: those of its TaskManager's environment."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from infrastructure.errors import UserError
from infrastructure.flink.statements import PASSWORD, USERNAME
from infrastructure.settings.kafka_address import kafka_address
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import use_packaged_time_zones

NEEDED = ("postgres_url", "redis_url", "kafka_bootstrap")


def worker_settings(partitions: int | None = None, needed: Sequence[str] = NEEDED) -> Settings:
    """Read the environment. ``partitions``: of the topic, as the client knows them. ``needed``: addresses.

    From here on the worker uses the packaged rules of time zones: its machine may have others than `serve` has.
    Raises UserError for a missing address, and for a login of Kafka that the environment lacks.
    """
    use_packaged_time_zones()
    settings = Settings.load(toml=None)
    if missing := [f"RIDELOG_{name.upper()}" for name in needed if getattr(settings, name) is None]:
        raise UserError(
            f"the TaskManager's environment lacks {', '.join(missing)}: set them where it starts, as for `serve`"
        )
    if "kafka_bootstrap" not in needed:
        return settings
    assert settings.kafka_bootstrap is not None
    if kafka_address(settings.kafka_bootstrap).mechanism and (lacking := {USERNAME, PASSWORD} - os.environ.keys()):
        # Kafka's client would use the name of the variable as the login, and be refused without end.
        raise UserError(
            f"Kafka wants a login, and the TaskManager's environment lacks {', '.join(sorted(lacking))}: docs/flink.md"
        )
    return settings if partitions is None else msgspec.structs.replace(settings, topic_partitions=partitions)
