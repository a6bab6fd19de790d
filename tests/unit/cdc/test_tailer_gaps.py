"""Events that the slot misses are filled from the table; heartbeats and the checkpoint reveal them."""

from __future__ import annotations

import pytest

from infrastructure.cdc.gap_fill import EventChunk, publish_range
from infrastructure.cdc.heartbeat import Heartbeat
from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.relay_checkpoint import CheckpointSaver
from tests.unit.cdc.scripted_tailer import (
    ScriptedEvents,
    ScriptedPublisher,
    ScriptedStream,
    a_tailer,
    heartbeat,
    positions_of,
    run_dry,
    transaction,
)
from tests.unit.cdc.test_pgoutput import begin, commit, relation


def test_events_that_the_slot_misses_are_published_from_the_table_in_order() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [8, 9])])
    publisher, events = ScriptedPublisher(), ScriptedEvents(head=9)
    tailer = a_tailer(stream, publisher, checkpoint=2, events=events)
    run_dry(tailer, publisher)
    assert positions_of(publisher) == [3, 4, 5, 6, 7, 8, 9]
    assert events.asked == [(2, 7), (4, 7), (6, 7)]
    assert (tailer.transactions.progress.position, tailer.transactions.progress.filled, stream.confirmed[-1]) == (
        9,
        5,
        100,
    )


def test_the_checkpoint_does_not_pass_a_gap_before_it_is_acknowledged() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [4])])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=1, events=ScriptedEvents(head=4))
    for _ in range(5):
        tailer.step(0)
    assert (positions_of(publisher), tailer.transactions.progress.position) == ([2, 3, 4], 1)
    publisher.acknowledge = publisher.sealed[1:]
    tailer.step(0)
    assert (tailer.transactions.progress.position, stream.confirmed[-1]) == (1, 0)
    publisher.acknowledge = publisher.sealed[:1]
    tailer.step(0)
    assert (tailer.transactions.progress.position, stream.confirmed[-1]) == (4, 100)


def test_repeated_events_are_dropped_and_confirmed() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [1, 2]), *transaction(200, [3, 4])])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=3)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.transactions.progress.repeated, stream.confirmed[-1]) == ([4], 3, 200)


def test_a_heartbeat_is_not_published_advances_the_slot_and_is_reported_once_all_before_it_is_acknowledged() -> None:
    heartbeats: list[Heartbeat] = []
    stream = ScriptedStream([relation(), *transaction(100, [1]), *heartbeat(200, 1)])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=0, heartbeats=heartbeats)
    tailer.step(0)
    publisher.acknowledge = [2]
    tailer.step(0)
    assert (heartbeats, stream.confirmed[-1]) == ([], 0)
    publisher.acknowledge = [1]
    tailer.step(0)
    assert (heartbeats, stream.confirmed[-1], positions_of(publisher)) == ([Heartbeat(1, "me", 5)], 200, [1])


def test_a_heartbeat_reveals_missing_events_without_new_events() -> None:
    stream, publisher = ScriptedStream(heartbeat(100, 5)), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=2, events=ScriptedEvents(head=5))
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.transactions.progress.position, stream.confirmed[-1]) == ([3, 4, 5], 5, 100)


def test_messages_of_other_programs_are_skipped() -> None:
    stream, publisher = ScriptedStream(heartbeat(100, 5, prefix="theirs")), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=2)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.transactions.progress.position, stream.confirmed[-1]) == ([], 2, 100)


def test_without_a_checkpoint_the_first_event_or_heartbeat_of_the_slot_gives_the_position() -> None:
    publisher = ScriptedPublisher()
    tailer = a_tailer(ScriptedStream([relation(), *transaction(100, [7])]), publisher)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.transactions.progress.position) == ([7], 7)
    publisher = ScriptedPublisher()
    tailer = a_tailer(
        ScriptedStream([begin(50), commit(50), *heartbeat(100, 5)]), publisher, events=ScriptedEvents(head=5)
    )
    run_dry(tailer, publisher)
    assert tailer.transactions.progress.position == 5


def test_events_missing_from_the_table_are_logged_and_do_not_block_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, publisher = ScriptedStream([relation(), *transaction(100, [9])]), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, checkpoint=0, events=ScriptedEvents(head=9, stored=0))
    run_dry(tailer, publisher)
    assert positions_of(publisher) == [9]
    assert "of positions 1 to 8 only 0 are in the table" in caplog.text


def test_events_missing_within_a_range_are_logged_and_the_rest_is_published(caplog: pytest.LogCaptureFixture) -> None:
    class Detached(ScriptedEvents):
        """Lacks the positions 5 and 6."""

        def read(self, after: int, upto: int) -> EventChunk | None:
            found = super().read(after, upto)
            assert found is not None
            left = [record for record in found.records if dict(record.headers)["position"] not in (b"5", b"6")]
            return found._replace(records=left, rows=len(left))

    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 3)
    assert publish_range(Detached(head=9, chunk=5), transactions, 3, 8) == 8
    transactions.publish()
    assert positions_of(publisher) == [4, 7, 8]
    assert "of positions 4 to 8 only 3 are in the table events" in caplog.text
    publisher.acknowledge = publisher.sealed
    transactions.collect()
    assert (transactions.progress.acknowledged, transactions.progress.skipped) == (3, 0)


def test_the_checkpoint_is_saved_once_a_second_and_before_its_lsn_is_confirmed() -> None:
    now = 100.0
    saved: list[tuple[int, int]] = []
    saver = CheckpointSaver(lambda position, lsn: saved.append((position, lsn)), clock=lambda: now)
    assert saver.save_if_due(None, 50) == 0
    assert saver.save_if_due(3, 50) == 50
    assert saver.save_if_due(4, 60) == 50
    now = 101.0
    assert saver.save_if_due(4, 60) == 60
    now = 102.0
    assert saver.save_if_due(4, 60) == 60
    assert saved == [(3, 50), (4, 60)]


def test_a_step_returns_the_events_that_it_has_read_or_filled() -> None:
    """An event that waits behind a gap counts once, in the step that publishes it."""
    stream = ScriptedStream([relation(), *transaction(100, [3, 4]), *transaction(200, [8, 9])])
    publisher, events = ScriptedPublisher(), ScriptedEvents(head=9)
    tailer = a_tailer(stream, publisher, checkpoint=2, events=events)
    assert [tailer.step(0) for _ in range(5)] == [2, 2, 1, 2, 0]
    assert positions_of(publisher) == [3, 4, 5, 6, 7, 8, 9]
