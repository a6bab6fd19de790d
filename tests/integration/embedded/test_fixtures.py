"""The fixtures that other tests depend on."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import redis

from infrastructure.settings.settings import Settings


def test_each_test_has_a_migrated_database_and_an_empty_redis(settings: Settings) -> None:
    with closing(psycopg2.connect(settings.postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('log_head') IS NOT NULL, current_setting('wal_level')")
        assert cursor.fetchone() == (True, "logical")
    with redis.Redis.from_url(settings.redis_url or "") as client:
        assert client.dbsize() == 0
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_database_with_a_replication_slot_is_dropped(settings: Settings) -> None:
    with closing(psycopg2.connect(settings.postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (settings.slot_name,))
