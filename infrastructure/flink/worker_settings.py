"""The settings of a Python worker of the job: those of its TaskManager's environment."""

from __future__ import annotations

import msgspec

from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings

NEEDED = ("postgres_url", "redis_url", "kafka_bootstrap")


def worker_settings(partitions: int | None = None) -> Settings:
    """Read the environment. ``partitions``: of the topic, as the client knows them.

    Raises UserError for a missing address.
    """
    settings = Settings.load(toml=None)
    if missing := [f"RIDELOG_{name.upper()}" for name in NEEDED if getattr(settings, name) is None]:
        raise UserError(
            f"the TaskManager's environment lacks {', '.join(missing)}: set them where it starts, as for `serve`"
        )
    return settings if partitions is None else msgspec.structs.replace(settings, topic_partitions=partitions)
