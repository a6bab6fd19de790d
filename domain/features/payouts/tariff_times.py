"""The times in a file of tariffs: each names its time zone, so that every machine reads the same instant.

Not in ``tariff``, whose code is part of the fold's digest: this decides no amount, only which files are refused.
"""

from __future__ import annotations

from datetime import datetime
from json import loads


def check_times(text: str) -> None:
    """Check the ``from`` of each version of a tariff.

    A time without a zone would be one of the machine that reads it: two nodes would pay one leg by two versions, and
    their folds would have one digest.

    Raises:
        ValueError: it has no zone, or it is no time.
    """
    for version in loads(text)["versions"]:
        if datetime.fromisoformat(version["from"]).tzinfo is None:
            raise ValueError(
                f"version {version['version']} of the tariff begins at {version['from']!r}, which names no time zone: "
                "write it as 2026-12-01T00:00:00Z"
            )
