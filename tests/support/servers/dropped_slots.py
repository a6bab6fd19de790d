"""What an administrator does to a replication slot."""

from __future__ import annotations

from sqlalchemy import Engine, text

from tests.support.waiting import eventually


def drop_slot(engine: Engine, slot: str, *, make: bool = False) -> None:
    """As an administrator would, also from under a tailer."""

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
    if make:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_create_logical_replication_slot(:s, 'pgoutput')"), {"s": slot})
