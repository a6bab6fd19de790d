"""Faults of Postgres: restarts, slots, large transactions, clocks, a full disk."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import closing
from errno import ENOSPC
from random import Random

import psycopg2
from sqlalchemy import text

from domain.event_store import ClockAhead
from domain.events.contracts import Codec
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.client import schema_ids
from tests.support.faults.fault import Fault
from tests.support.faults.world import SLOT_KEEPS, World, frozen, pause
from tests.support.postgres.many_events import many_events
from tests.support.reports.proofs import whole
from tests.support.servers.dropped_slots import drop_slot
from tests.support.waiting import eventually

LARGE = 100_000 if whole() else 20_000
"""Rows of a large transaction. In ``make test`` few enough for the next faults to run on the same log."""
STEP_MS = 30_000
DAY_MS = 86_400_000


def restart(world: World, _chance: Random) -> None:
    world.postgres.restart()


def slot_dropped(world: World, chance: Random) -> None:
    """Drop the slot under the running tailer, as an administrator might; every other time re-create it by hand."""
    drop_slot(world.engine, world.settings.slot_name, recreate=chance.random() < 0.5)


def slot_invalidated(world: World, _chance: Random) -> None:
    """Write more WAL than max_slot_wal_keep_size while the tailer is suspended."""
    slot = (world.settings.slot_name,)
    # Without the writers' time-outs: a checkpoint that has to remove much WAL takes long.
    with frozen(world.pids("tailer")), closing(psycopg2.connect(world.postgres.url)) as connection:
        connection.autocommit = True

        def has(what: str) -> bool:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {what} FROM pg_replication_slots WHERE slot_name = %s", slot)
                return bool(cursor.fetchone() == (True,))

        def lost() -> bool:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 40000000))")
                cursor.execute("SELECT pg_switch_wal()")
                cursor.execute("CHECKPOINT")
            return has("invalidation_reason = 'wal_removed'")

        # The walsender drops its silent client first, by the time-out that the tailer sets. A walsender that a
        # checkpoint has to end sends a message before: with a full socket to a suspended process, that never returns.
        eventually(lambda: has("NOT active"), within_s=60, what="the walsender has given its client up")
        eventually(lost, within_s=90, what="the slot has lost its WAL")


def large_transaction(world: World, _chance: Random) -> None:
    """One commit of LARGE events, next to those of the API."""
    codec = Codec(schema_ids(world.settings, world.engine))
    EventRecorder(world.engine).insert_events(many_events(codec, LARGE, 50, f"large-{uuid.uuid4().hex[:6]}"))


def clock_steps(world: World, chance: Random) -> None:
    """A second writer next to the API, whose clock jumps back and forth."""
    codec = Codec(schema_ids(world.settings, world.engine))
    now_ms = [0]
    recorder = EventRecorder(world.engine, clock=lambda: now_ms[0])
    events = many_events(codec, 1_000, 1, f"clock-{uuid.uuid4().hex[:6]}")
    for first in range(0, len(events), 50):
        now_ms[0] = time.time_ns() // 1_000_000 + chance.choice([-STEP_MS, 0, STEP_MS // 10])
        recorder.insert_events(events[first : first + 50])
    with world.engine.connect() as connection:
        backwards = text(
            "SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position) AS back FROM events)"
            " AS steps WHERE back"
        )
        assert connection.execute(backwards).scalar_one() == 0


def clock_a_day_ahead(world: World, chance: Random) -> None:
    """A second writer next to the API, whose clock is a day ahead, then right, then ahead again."""
    codec = Codec(schema_ids(world.settings, world.engine))
    ahead_ms = [0]
    recorder = EventRecorder(world.engine, clock=lambda: time.time_ns() // 1_000_000 + ahead_ms[0])
    events = many_events(codec, 1_000, 1, f"ahead-{uuid.uuid4().hex[:6]}")
    for first in range(0, len(events), 50):
        ahead_ms[0] = chance.choice([0, DAY_MS])
        try:
            recorder.insert_events(events[first : first + 50])
        except ClockAhead:
            assert ahead_ms[0] == DAY_MS
            ahead_ms[0] = 0
            recorder.insert_events(events[first : first + 50])
        else:
            assert ahead_ms[0] == 0, "a day ahead is refused"
    with world.engine.connect() as connection:
        assert read_head(connection).clock_ahead_ms < STEP_MS


def open_transaction(world: World, _chance: Random) -> None:
    """Hold a snapshot of all tables, as pg_dump does, while events are recorded, published and folded."""
    engine = reader_engine(world.postgres.url)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SELECT count(*) FROM events"))
        large_transaction(world, _chance)
        pause(5.0)
    engine.dispose()


def disk_full(world: World, chance: Random) -> None:
    """Fill Postgres' file system completely, for some seconds."""
    balloon = world.postgres.data_dir / "balloon"
    with balloon.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            _fill(file.fileno(), bytes(size))
    pause(2.0 + 3 * chance.random())
    balloon.unlink()
    world.postgres.start()


def _fill(descriptor: int, block: bytes) -> None:
    """Write blocks until none fits; space that becomes free meanwhile is filled too."""
    try:
        while os.write(descriptor, block):
            pass
    except OSError as full:
        if full.errno != ENOSPC:
            raise


DATABASE_FAULTS = [
    Fault("restart of Postgres", "fast shutdown, then restarted", restart),
    Fault(
        "slot dropped",
        "dropped while the tailer runs; half of the time recreated by hand",
        slot_dropped,
    ),
    Fault(
        "slot invalidated",
        f"more WAL than max_slot_wal_keep_size ({SLOT_KEEPS}) while the tailer sleeps",
        slot_invalidated,
    ),
    Fault(
        "a large transaction",
        "one commit of 100,000 rows, or of 20,000 in make test, during the load",
        large_transaction,
    ),
    Fault(
        "clock steps",
        f"a second writer's clock jumps {STEP_MS // 1000} s back, and forward again; recorded_at never steps back",
        clock_steps,
    ),
    Fault(
        "a clock a day ahead",
        "a second writer's clock is a day ahead at random times: its events are refused until the clock is right",
        clock_a_day_ahead,
    ),
    Fault(
        "an open transaction",
        "a transaction like that of pg_dump, open during the load and a large transaction",
        open_transaction,
    ),
    Fault("disk full", "Postgres has no free disk space for 2 to 5 s", disk_full, small_disk=True),
]
