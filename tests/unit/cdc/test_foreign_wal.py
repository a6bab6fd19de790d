"""Messages that any role, or another installation in the database, writes into the WAL stream change nothing."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from infrastructure.cdc.heartbeat import MAX_CONTENT_BYTES
from infrastructure.cdc.pgoutput import ProtocolError
from infrastructure.cdc.row_to_record import COLUMNS
from tests.unit.cdc.scripted_tailer import (
    LOG_ID,
    ScriptedEvents,
    ScriptedPublisher,
    ScriptedStream,
    a_tailer,
    heartbeat,
    message,
    positions_of,
    run_dry,
    transaction,
)
from tests.unit.cdc.test_pgoutput import begin, commit, insert, relation, row

HEAD = 4


def content(**changes: object) -> bytes:
    """A heartbeat of this log at its head, with some fields changed; None removes one."""
    fields = {"log_id": str(LOG_ID), "position": HEAD, "sender": "me", "sent_ns": 5} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


FORGED = {
    "no JSON": b"not json",
    "empty": b"",
    "no UTF-8": b'{"position": 1, "sender": "\xff"}',
    "a list": b"[" * 200,
    "from before log ids": content(log_id=None),
    "another log": content(log_id=str(UUID(int=8))),
    "beyond the head": content(position=1_000_000),
    "beyond int64": content(position=10**30),
    "negative": content(position=-1),
    "a fraction": content(position=4.5),
    "text": content(position="4"),
    "a clock beyond int64": content(sent_ns=2**64),
    "a long sender": content(sender="x" * 65),
    "another field": content(more=1),
    "too long": content() + b" " * MAX_CONTENT_BYTES,
}


@pytest.mark.parametrize("checkpoint", [2, None])
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_regression_a_forged_heartbeat_is_skipped_with_one_warning(
    forged: bytes, checkpoint: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended the tailer after each restart, or caused everything to be published again, and retained the WAL."""
    stream = ScriptedStream([relation(), *message(100, forged), *message(200, forged), *transaction(300, [3, 4])])
    publisher, events = ScriptedPublisher(), ScriptedEvents(head=HEAD)
    tailer = a_tailer(stream, publisher, checkpoint=checkpoint, events=events)
    run_dry(tailer, publisher)
    assert positions_of(publisher) == [3, 4]
    assert (tailer.transactions.progress.position, tailer.transactions.progress.filled, stream.confirmed[-1]) == (
        4,
        0,
        300,
    )
    (warning,) = caplog.messages
    assert "heartbeat" in warning
    assert events.asked == []


def test_a_heartbeat_of_the_greatest_length_is_one(caplog: pytest.LogCaptureFixture) -> None:
    stream = ScriptedStream([relation(), *message(100, content().ljust(MAX_CONTENT_BYTES))])
    tailer = a_tailer(stream, ScriptedPublisher(), checkpoint=HEAD - 1, events=ScriptedEvents(head=HEAD))
    run_dry(tailer, ScriptedPublisher())
    assert tailer.transactions.progress.filled == 1
    assert not any("heartbeat" in text for text in caplog.messages)


def test_a_heartbeat_outside_a_transaction_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    _, beat, _ = message(100, content())
    stream = ScriptedStream([beat[:1] + b"\0" + beat[2:]])
    tailer = a_tailer(stream, ScriptedPublisher(), checkpoint=2, events=ScriptedEvents(head=HEAD))
    tailer.step(0)
    assert tailer.transactions.progress.position == 2
    assert len(caplog.messages) == 1


def test_a_heartbeat_without_a_gap_costs_no_query() -> None:
    stream, publisher = ScriptedStream([relation(), *transaction(100, [3, 4]), *heartbeat(200, 4)]), ScriptedPublisher()
    events = ScriptedEvents(head=HEAD)
    run_dry(a_tailer(stream, publisher, checkpoint=2, events=events), publisher)
    assert events.heads_read == 0


@pytest.mark.parametrize("name", [b"theirs\0events", b"public\0orders", b"\0events", b"\xc3\xa4\n\x1b[31m\0events"])
def test_rows_of_other_tables_are_skipped_with_one_warning(name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Includes a table ``events`` in another schema, whose rows look like ours."""
    theirs = [begin(100), *(insert(row(position=p), 43) for p in (1, 3, 4, 900)), commit(100)]
    messages = [relation(), relation(COLUMNS, 43, name), *theirs, *transaction(200, [3])]
    stream, publisher = ScriptedStream(messages), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=2, events=ScriptedEvents(head=HEAD))
    run_dry(tailer, publisher)
    assert (positions_of(publisher), stream.confirmed[-1]) == ([3], 200)
    (warning,) = caplog.messages
    assert warning.isascii()
    assert warning.isprintable()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"public\0orders", "public.orders"),
        (b"\xc3\xa4\n\x1b[31m\0events", r"\xe4\n\x1b[31m.events"),
        (b"theirs\0" + b"x" * 200, "theirs." + "x" * 80),
    ],
)
def test_the_warning_names_the_other_table_safely_and_not_at_any_length(
    name: bytes, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = ScriptedStream([relation(COLUMNS, 43, name), begin(100), insert(row(position=1), 43), commit(100)])
    run_dry(a_tailer(stream, ScriptedPublisher(), checkpoint=2), ScriptedPublisher())
    (warning,) = caplog.messages
    assert warning.endswith(f": rows of the table {shown}")


@pytest.mark.parametrize("kind", [b"U", b"D", b"T"])
def test_regression_updates_deletes_and_truncates_are_skipped(kind: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A publication that had been changed for a moment ended the tailer after each restart."""
    change = [begin(100), kind + b"\0" * 20, kind + b"\0" * 20, commit(100)]
    stream, publisher = ScriptedStream([relation(), *change, *transaction(200, [3])]), ScriptedPublisher()
    run_dry(a_tailer(stream, publisher, checkpoint=2), publisher)
    assert (positions_of(publisher), stream.confirmed[-1], len(caplog.messages)) == ([3], 200, 1)


def test_regression_our_rows_with_other_columns_come_from_the_table(caplog: pytest.LogCaptureFixture) -> None:
    wide = [begin(100), insert([*row(position=3), b"more"]), commit(100)]
    messages = [relation((*COLUMNS, "more")), *wide, *heartbeat(150, 3), relation(), *transaction(200, [4])]
    stream, publisher = ScriptedStream(messages), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=2, events=ScriptedEvents(head=HEAD))
    run_dry(tailer, publisher)
    assert (positions_of(publisher), stream.confirmed[-1], tailer.transactions.progress.filled) == ([3, 4], 200, 1)
    assert "other columns" in caplog.messages[0]


def test_our_rows_with_other_columns_are_rejected_while_no_position_is_known() -> None:
    with pytest.raises(ProtocolError):
        a_tailer(ScriptedStream([relation(COLUMNS[:-1])]), ScriptedPublisher()).step(0)


def test_a_row_beyond_the_head_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    stream = ScriptedStream([relation(), *transaction(100, [900]), *transaction(200, [3])])
    publisher, events = ScriptedPublisher(), ScriptedEvents(head=HEAD)
    tailer = a_tailer(stream, publisher, checkpoint=2, events=events)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.transactions.progress.position, stream.confirmed[-1]) == ([3], 3, 200)
    assert len(caplog.messages) == 1
