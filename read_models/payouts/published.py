"""An entry as it is published on the compacted topic ``payouts``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.timestamps import epoch_ms
from read_models.payouts.rows import COLUMNS

TOPIC = "payouts"
RECORD = "PayoutEntry"


def values(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of ``PayoutEntry`` from the columns of a row; no generation, so a rebuild makes the same bytes."""
    fields = {name: row[name] for name in ("entry_id", *COLUMNS) if name != "ended_at"}
    return fields | {"ended_at_ms": epoch_ms(row["ended_at"])}
