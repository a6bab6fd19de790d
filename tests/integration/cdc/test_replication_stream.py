"""The replication connection on a real slot: what one read holds, and what is confirmed to the server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc import replication_stream
from infrastructure.cdc.pgoutput import LogicalMessage, parse
from infrastructure.cdc.replication_slot import (
    DatabaseIdentity,
    SlotState,
    SlotUnusable,
    create_slot,
    database_identity,
    ensure_publication,
    slot_state,
)
from infrastructure.cdc.replication_stream import ReplicationStream, SlotInUse, StreamLost, WalBatch
from tests.support.waiting import eventually

BYTES = 1_000
"""Of the text of each message that a test writes into the WAL."""


@pytest.fixture
def slot(engine: Engine) -> str:
    """A slot with a publication of the same name."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    ensure_publication(engine, name)
    create_slot(engine, name)
    return name


@pytest.fixture
def stream(postgres_url: str, slot: str) -> Iterator[ReplicationStream]:
    stream = ReplicationStream(postgres_url, slot, slot)
    yield stream
    stream.close()


def emit(engine: Engine, count: int) -> int:
    """Write ``count`` numbered messages of BYTES into the WAL. Returns the LSN behind them."""
    with engine.begin() as connection:
        for number in range(count):
            content = text("SELECT pg_logical_emit_message(false, 'test', rpad(:number, :bytes))")
            connection.execute(content, {"number": str(number), "bytes": BYTES})
        # A commit makes the server write out what it has so far.
        connection.execute(text("SELECT pg_logical_emit_message(true, 'test', 'end')"))
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())


def numbers(batch: WalBatch) -> list[int]:
    found = map(parse, batch.messages)
    return [int(one.content) for one in found if isinstance(one, LogicalMessage) and not one.transactional]


def state_of(engine: Engine, slot: str) -> SlotState:
    with engine.connect() as connection:
        found = slot_state(connection, slot)
    assert found is not None
    return found


def first_read(stream: ReplicationStream, limit: int) -> WalBatch:
    """The first batch with a message; after it, what follows has arrived too."""

    def read() -> WalBatch | None:
        stream.wait(0.1)
        found = stream.read(limit)
        return found if found.messages else None

    batch = eventually(read, every_s=0, what="messages arrive")
    assert batch is not None
    return batch


def rest(stream: ReplicationStream, upto: int, limit: int) -> list[WalBatch]:
    """Batches until the server has sent everything up to the LSN ``upto``."""
    batches: list[WalBatch] = []

    def drained() -> bool:
        batch = stream.read(limit)
        batches.append(batch)
        if batch.drained:
            stream.wait(0.1)
        return batch.drained and batch.wal_end >= upto

    eventually(drained, every_s=0, what="everything has arrived")
    return batches


def test_a_read_holds_as_many_messages_as_are_asked_for(engine: Engine, stream: ReplicationStream) -> None:
    end = emit(engine, 7)
    batches = [first_read(stream, 2), *rest(stream, end, 2)]
    assert max(len(batch.messages) for batch in batches) == 2
    assert [number for batch in batches for number in numbers(batch)] == list(range(7))
    # Only a read that found nothing more is drained.
    assert all(len(batch.messages) == 2 for batch in batches if not batch.drained)


def test_a_read_ends_at_a_number_of_bytes_though_fewer_messages_than_asked_for_were_read(
    engine: Engine, stream: ReplicationStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any role can write messages of many megabytes; a read of thousands of them would not fit into the memory."""
    monkeypatch.setattr(replication_stream, "MAX_BATCH_BYTES", 2 * BYTES)
    end = emit(engine, 7)
    batches = [first_read(stream, 1_000), *rest(stream, end, 1_000)]
    assert max(len(numbers(batch)) for batch in batches) == 2
    assert [number for batch in batches for number in numbers(batch)] == list(range(7))


def test_a_read_of_an_idle_stream_is_drained_at_the_end_of_the_wal(engine: Engine, stream: ReplicationStream) -> None:
    batches = rest(stream, 0, 10)
    assert (batches[-1].messages, batches[-1].drained) == ([], True)


def test_what_is_confirmed_is_where_the_slot_resumes(
    engine: Engine, stream: ReplicationStream, slot: str, postgres_url: str
) -> None:
    end = emit(engine, 3)
    rest(stream, end, 10)
    stream.confirm(end)
    eventually(lambda: state_of(engine, slot).confirmed == end, what="the server has the confirmation")
    # What an operator sees of the connection: all of it is written, flushed and applied.
    shown = text(
        "SELECT write_lsn - '0/0'::pg_lsn, flush_lsn - '0/0'::pg_lsn, replay_lsn - '0/0'::pg_lsn"
        " FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE slot_name = :slot"
    )
    with engine.connect() as connection:
        assert set(connection.execute(shown, {"slot": slot}).one()) == {end}
    stream.close()
    eventually(lambda: not state_of(engine, slot).active, what="the slot is released")
    again = ReplicationStream(postgres_url, slot, slot)
    assert numbers(rest(again, end, 10)[-1]) == []
    again.close()


def test_a_slot_that_is_read_cannot_be_read_by_another(stream: ReplicationStream, slot: str, postgres_url: str) -> None:
    with pytest.raises(SlotInUse, match=slot):
        ReplicationStream(postgres_url, slot, slot)


def test_a_stream_that_cannot_start_leaves_no_connection_open(engine: Engine, postgres_url: str) -> None:
    """Each one would occupy one of the server's few walsenders, until no tailer could start."""
    with pytest.raises(StreamLost, match='replication slot "missing" does not exist') as raised:
        ReplicationStream(postgres_url, "missing", "missing")
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database()"
    )

    def none_open() -> bool:
        with engine.connect() as connection:
            return int(connection.execute(query).scalar_one()) == 0

    # The error holds the frame that had the connection: only a close has ended it.
    eventually(none_open, what="the connection is closed")
    assert raised.value is not None


def test_an_unreachable_server_is_a_lost_stream() -> None:
    with pytest.raises(StreamLost, match=r"127\.0\.0\.1"):
        ReplicationStream("postgresql://nobody@127.0.0.1:1/nothing", "any", "any")


def test_a_stream_whose_session_is_ended_is_lost(engine: Engine, stream: ReplicationStream, slot: str) -> None:
    with engine.connect() as connection:
        end = text("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = :slot")
        connection.execute(end, {"slot": slot})

    def lost() -> bool:
        try:
            stream.wait(0.05)
            stream.read(10)
        except StreamLost:
            return True
        return False

    eventually(lost, every_s=0, what="the stream is lost")
    with pytest.raises(StreamLost):
        stream.confirm(1)


def test_the_database_must_be_the_one_that_is_expected(engine: Engine, slot: str, postgres_url: str) -> None:
    with engine.connect() as connection:
        own = database_identity(connection)
    ReplicationStream(postgres_url, slot, slot, "A_SETTING", own).close()
    for other in (DatabaseIdentity("7", own.database), DatabaseIdentity(own.system, "another")):
        expected = (
            f"A_SETTING leads to the database {own.database} of the cluster {own.system}, RIDELOG_POSTGRES_URL to "
            f"{other.database} of {other.system}: "
        )
        with pytest.raises(SlotUnusable, match=expected):
            ReplicationStream(postgres_url, slot, slot, "A_SETTING", other)
    eventually(lambda: not state_of(engine, slot).active, what="the refused streams are closed")
