"""The schema: what the migrations make is what the code declares."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from infrastructure.errors import UserError
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import reader_engine, writer_engine
from tests.support.postgres.log_events import events_of


def test_the_models_and_the_migrations_agree(postgres_url: str) -> None:
    engine = reader_engine(postgres_url)
    EventRecorder(engine).insert_events(events_of("anna", 1, 1))
    engine.dispose()
    migrations.check(postgres_url)
    assert migrations.revision(postgres_url).is_current


def test_regression_a_database_of_a_newer_version_is_not_to_be_migrated(postgres_url: str) -> None:
    """The old version said to run `migrate`, which it cannot do."""
    engine = writer_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    found = migrations.revision(postgres_url)
    assert found.is_newer
    assert "is at revision 9999" in found.fault
    assert "a newer version has migrated it; run that one" in found.fault


def test_an_older_database_is_to_be_migrated() -> None:
    assert migrations.Revision("0025", "0025").fault == ""
    assert migrations.Revision(None, "0025").fault.endswith(
        "revision none, this version needs 0025: run `python app.py migrate`"
    )


def test_migrations_go_down_and_up_again(empty_postgres_url: str) -> None:
    assert migrations.revision(empty_postgres_url).current is None
    migrations.upgrade(empty_postgres_url)
    migrations.downgrade(empty_postgres_url, "base")
    migrations.upgrade(empty_postgres_url)
    migrations.check(empty_postgres_url)


@pytest.mark.parametrize("target", ["0009", "0010"])
def test_a_migration_does_not_stop_the_writers_behind_a_forgotten_transaction(
    empty_postgres_url: str, target: str
) -> None:
    """Every writer waits behind a migration that waits for the log's lock."""
    before = f"{int(target) - 1:04}"
    migrations.upgrade(empty_postgres_url, before)
    engine = writer_engine(empty_postgres_url)
    with engine.begin() as forgotten:
        forgotten.execute(text("SELECT FROM log_head FOR UPDATE"))
        with pytest.raises(UserError, match=r"nothing was changed.*Run `python app.py migrate` again"):
            migrations.upgrade(empty_postgres_url, target, lock_timeout_s=0.3)
    assert migrations.revision(empty_postgres_url).current == before
    migrations.upgrade(empty_postgres_url, target, lock_timeout_s=0.3)
    with engine.begin() as forgotten:
        forgotten.execute(text("SELECT FROM log_head FOR UPDATE"))
        with pytest.raises(UserError, match="nothing was changed"):
            migrations.downgrade(empty_postgres_url, before, lock_timeout_s=0.3)
    engine.dispose()
    assert migrations.revision(empty_postgres_url).current == target


def test_a_limit_of_the_url_bounds_a_migration(empty_postgres_url: str) -> None:
    migrations.upgrade(empty_postgres_url, "0008")
    engine = writer_engine(empty_postgres_url)
    limited = f"{empty_postgres_url}{'&' if '?' in empty_postgres_url else '?'}options=-clock_timeout%3D300"
    with engine.begin() as forgotten:
        forgotten.execute(text("SELECT FROM log_head FOR UPDATE"))
        with pytest.raises(UserError, match="nothing was changed"):
            migrations.upgrade(limited, lock_timeout_s=600)
    engine.dispose()
