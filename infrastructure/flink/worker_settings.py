"""The settings of a Python worker of the job: those of its TaskManager's environment."""

from __future__ import annotations

import msgspec

from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings

NEEDED = ("postgres_url", "redis_url", "kafka_bootstrap")


def worker_settings(partitions: int) -> Settings:
    """Read the environment. Raises UserError if an address is missing, or the topic has other ``partitions``."""
    settings = Settings.load(toml=None)
    if missing := [f"RIDELOG_{name.upper()}" for name in NEEDED if getattr(settings, name) is None]:
        raise UserError(
            f"the TaskManager's environment lacks {', '.join(missing)}: set them where it starts, as for `serve`"
        )
    return msgspec.structs.replace(settings, topic_partitions=partitions)
