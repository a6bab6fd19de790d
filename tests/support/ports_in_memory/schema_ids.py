"""Schema ids without a registry: the port ``domain.events.contracts.SchemaIds`` in memory."""

from __future__ import annotations

from typing import Any

from domain.events.contracts import contracts, current


class LocalSchemaIds:
    """Ids 1, 2, 3 … in the order of ``contracts()``."""

    def __init__(self) -> None:
        self._schemas = dict(enumerate(contracts(), start=1))

    def id_of(self, record: str) -> int:
        wanted = current(record)
        return next(number for number, contract in self._schemas.items() if contract == wanted)

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        return self._schemas[schema_id].schema

    def forget(self) -> None:
        """Does nothing: these ids come from the code."""
