"""What a relay counts and shows of the records that it hands to Kafka, and when it gives a producer up."""

from __future__ import annotations

import time

import pytest

from infrastructure.cdc.in_flight import MAX_WAITING_RECORDS, InFlightTransactions
from infrastructure.cdc.row_to_record import converter
from infrastructure.kafka.ports import ProducerRecord
from tests.unit.cdc.scripted_tailer import ScriptedPublisher
from tests.unit.cdc.test_pgoutput import row


def records(*positions: int) -> list[ProducerRecord]:
    convert = converter({"Rider": "gps-pings"}, 8)
    found = [convert(row(position=position)) for position in positions]
    return [record for record in found if record is not None]


def passed_on(out: InFlightTransactions, commit_ms: int, *positions: int, end_lsn: int = 0) -> int:
    """One transaction, opened, filled and closed; its token."""
    out.open(commit_ms)
    out.add(records(*positions), len(positions), positions[-1])
    return out.close(end_lsn)


def acknowledge(out: InFlightTransactions, publisher: ScriptedPublisher, *tokens: int) -> None:
    publisher.acknowledge = list(tokens)
    out.collect()


def test_before_anything_all_is_where_it_was_left() -> None:
    out = InFlightTransactions(ScriptedPublisher(), 41)
    progress = out.progress
    assert (progress.position, progress.commit_ms, progress.behind_ms, progress.event_ms) == (41, 0, -1, -1)
    assert (
        out.confirmed,
        out.last_passed_batch,
        out.is_open,
        out.unacknowledged_transactions(),
        out.unacknowledged_records(),
    ) == (0, 0, False, 0, 0)
    assert out.oldest_commit_ms() is None
    assert out.publish() is False
    assert InFlightTransactions(ScriptedPublisher(), None).progress.position is None


def test_an_acknowledged_transaction_is_counted_with_its_rows_and_times() -> None:
    publisher = ScriptedPublisher()
    out = InFlightTransactions(publisher, 0)
    began_ms = time.time_ns() // 1_000_000
    passed_on(out, began_ms - 5_000, 1, 2, end_lsn=100)
    assert out.publish() is True
    assert out.publish() is False
    acknowledge(out, publisher, 1)
    ended_ms = time.time_ns() // 1_000_000
    progress = out.progress
    assert (progress.published, progress.acknowledged, progress.transactions, progress.position) == (2, 2, 1, 2)
    assert progress.commit_ms == began_ms - 5_000
    assert 5_000 <= progress.behind_ms <= ended_ms - began_ms + 5_000
    assert began_ms <= progress.event_ms <= ended_ms
    assert (out.confirmed, out.last_passed_batch) == (100, 1)


def test_counts_add_up_over_transactions_and_the_newest_commit_is_shown() -> None:
    publisher = ScriptedPublisher()
    out = InFlightTransactions(publisher, 0)
    passed_on(out, 9_000, 1, 2)
    passed_on(out, 7_000, 3)
    out.publish()
    acknowledge(out, publisher, 1, 2)
    progress = out.progress
    assert (progress.published, progress.acknowledged, progress.transactions, progress.commit_ms) == (3, 3, 2, 9_000)
    assert progress.position == 3
    assert out.oldest_commit_ms() is None


def test_a_commit_of_a_clock_that_is_ahead_is_no_negative_delay() -> None:
    publisher = ScriptedPublisher()
    out = InFlightTransactions(publisher, 0)
    passed_on(out, time.time_ns() // 1_000_000 + 3_600_000, 1)
    out.publish()
    acknowledge(out, publisher, 1)
    assert out.progress.behind_ms == 0


def test_a_transaction_without_events_is_none_in_which_an_event_was_acknowledged() -> None:
    publisher = ScriptedPublisher()
    out = InFlightTransactions(publisher, 7)
    out.open(5_000)
    out.close(100)
    out.publish()
    acknowledge(out, publisher, 1)
    assert (out.progress.event_ms, out.progress.transactions, out.progress.acknowledged) == (-1, 1, 0)
    assert (out.progress.position, out.confirmed) == (7, 100)


def test_the_parts_of_a_transaction_are_one_token() -> None:
    publisher = ScriptedPublisher()
    out = InFlightTransactions(publisher, 0)
    out.open(5_000)
    opened = out.is_open
    out.add(records(1, 2), 2, 2)
    out.publish()
    assert publisher.sealed == []
    out.add(records(3), 2, 4)
    assert out.close(100) == 1
    assert (opened, out.is_open) == (True, False)
    out.publish()
    assert [token for token, _ in publisher.records] == [1, 1, 1]
    assert publisher.sealed == [1]
    acknowledge(out, publisher, 1)
    assert (out.progress.acknowledged, out.progress.published, out.progress.position) == (4, 3, 4)


def test_what_the_publisher_does_not_take_waits_in_its_order() -> None:
    publisher = ScriptedPublisher(room=2)
    out = InFlightTransactions(publisher, 0)
    passed_on(out, 5_000, 1, 2, 3, end_lsn=100)
    passed_on(out, 6_000, 4, end_lsn=200)
    assert out.publish() is True
    assert (out.unacknowledged_records(), out.handed_over_records(), out.progress.published) == (4, 2, 2)
    assert out.publish() is False
    assert publisher.sealed == []
    publisher.room = 10
    assert out.publish() is True
    assert publisher.sealed == [1, 2]
    positions = [dict(record.headers)["position"] for _, record in publisher.records]
    assert positions == [b"1", b"2", b"3", b"4"]
    assert (out.unacknowledged_transactions(), out.oldest_commit_ms()) == (2, 5_000)


@pytest.mark.parametrize(
    ("waiting", "room"), [(0, MAX_WAITING_RECORDS), (MAX_WAITING_RECORDS - 1, 1), (MAX_WAITING_RECORDS, 0)]
)
def test_room_is_what_may_still_wait(waiting: int, room: int) -> None:
    out = InFlightTransactions(ScriptedPublisher(room=0), 0)
    out.open(5_000)
    if waiting:
        out.add(records(1) * waiting, waiting, waiting)
    assert (out.free_capacity(), out.has_capacity()) == (room, room > 0)


def test_what_was_read_beyond_the_room_leaves_none() -> None:
    out = InFlightTransactions(ScriptedPublisher(room=0), 0)
    out.open(5_000)
    for _ in range(2):
        out.add(records(1) * MAX_WAITING_RECORDS, 1, 1)
    assert (out.free_capacity(), out.has_capacity(), out.unacknowledged_records()) == (
        0,
        False,
        2 * MAX_WAITING_RECORDS,
    )


def test_the_end_of_the_wal_is_confirmed_only_when_nothing_is_under_way() -> None:
    publisher = ScriptedPublisher(room=0)
    out = InFlightTransactions(publisher, 0)
    out.confirm_idle_wal(50)
    assert out.confirmed == 50
    out.open(5_000)
    out.confirm_idle_wal(60)
    assert out.confirmed == 50
    out.add(records(1), 1, 1)
    out.close(70)
    out.confirm_idle_wal(80)
    assert out.confirmed == 50
    publisher.room = 1
    out.publish()
    out.confirm_idle_wal(90)
    assert out.confirmed == 50
    acknowledge(out, publisher, 1)
    assert out.confirmed == 70
    out.confirm_idle_wal(90)
    assert out.confirmed == 90


def test_how_long_to_wait_for_acknowledgements_is_passed_on() -> None:
    publisher = ScriptedPublisher()
    out = InFlightTransactions(publisher, 0)
    out.collect()
    out.collect(0.25)
    assert publisher.waited_s == [0.0, 0.25]
