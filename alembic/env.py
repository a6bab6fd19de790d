"""Runs migrations on the database of RIDELOG_POSTGRES_URL, or on the connection that ridelog passes."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Connection

import infrastructure.postgres.audit_tables
import infrastructure.postgres.drift_tables
import infrastructure.postgres.model_tables
import infrastructure.postgres.payment_tables
import infrastructure.postgres.projection_tasks
import infrastructure.postgres.published_tables
import infrastructure.postgres.session_table  # noqa: F401  (so do these)
import read_models.analytics.tables
import read_models.completion.tables
import read_models.deliveries.tables
import read_models.fraud.tables
from alembic import context
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.schema import metadata
from read_models.rows import metadata as read_models


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    # Partitions are created and detached with the log. They are not part of the schema that migrations manage.
    return not (kind == "table" and name is not None and name.startswith("events_p"))


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=[metadata, read_models], include_name=include_name)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = os.environ.get("RIDELOG_POSTGRES_URL")
    if not url:
        raise SystemExit("set RIDELOG_POSTGRES_URL, or use `python app.py migrate`")
    with reader_engine(url).connect() as own:
        run(own)
        own.commit()
