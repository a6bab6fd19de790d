"""Drops a replication slot, as an administrator does."""

from __future__ import annotations

from sqlalchemy import Engine, text

from tests.support.waiting import eventually


def drop_slot(engine: Engine, slot: str, *, recreate: bool = False) -> None:
    """Drop the slot, also while a tailer uses it. ``recreate``: create a new one of the same name."""

    def dropped() -> bool:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            found = connection.execute(
                text("SELECT active_pid FROM pg_replication_slots WHERE slot_name = :s"), {"s": slot}
            ).one()
            if found.active_pid is None:
                connection.execute(text("SELECT pg_drop_replication_slot(:s)"), {"s": slot})
                return True
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": found.active_pid})
            return False

    eventually(dropped, what="the slot is dropped")
    if recreate:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_create_logical_replication_slot(:s, 'pgoutput')"), {"s": slot})
