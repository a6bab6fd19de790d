"""Creates installations that share one database, each in a schema of its own."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import msgspec
import psycopg2
from psycopg2 import sql

from infrastructure.postgres.migrations import upgrade
from infrastructure.settings.settings import Settings


def with_schema(url: str, schema: str) -> str:
    """``url`` with the schema as its search path."""
    return f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={schema}', safe='')}"


def installation(settings: Settings, schema: str) -> Settings:
    """A migrated installation in a new schema of the database of ``settings``, with names of its own."""
    assert settings.postgres_url is not None
    connection = psycopg2.connect(settings.postgres_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.close()
    suffix = uuid.uuid4().hex[:8]
    url = with_schema(settings.postgres_url, schema)
    upgrade(url)
    return msgspec.structs.replace(
        settings,
        postgres_url=url,
        topic_prefix=f"{settings.topic_prefix}{schema}.",
        slot_name=f"test_{schema}_{suffix}",
        publication_name=f"test_{schema}_{suffix}",
    )
