"""Avro frames as another program, or an older version of this one, writes them."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro

from domain.events.contracts import Contract, contracts, frame


def framed_under(contract: Contract, data: Mapping[str, Any], schema_id: int | None = None) -> bytes:
    """Frame ``data`` under any version of a contract. The default id is that of ``LocalSchemaIds``."""
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(contract.schema), dict(data))
    return frame(contracts().index(contract) + 1 if schema_id is None else schema_id, body.getvalue())
