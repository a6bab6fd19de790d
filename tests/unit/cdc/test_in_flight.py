"""What a relay counts and reports of the records that it hands to Kafka."""

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


def add_transaction(transactions: InFlightTransactions, commit_ms: int, *positions: int, end_lsn: int = 0) -> int:
    """Open, fill and close one transaction. Returns its batch id."""
    transactions.open(commit_ms)
    transactions.add(records(*positions), len(positions), positions[-1])
    return transactions.close(end_lsn)


def acknowledge(transactions: InFlightTransactions, publisher: ScriptedPublisher, *batch_ids: int) -> None:
    publisher.acknowledge = list(batch_ids)
    transactions.collect()


def test_a_new_relay_starts_at_its_checkpoint_with_nothing_in_flight() -> None:
    transactions = InFlightTransactions(ScriptedPublisher(), 41)
    progress = transactions.progress
    assert (progress.position, progress.commit_ms, progress.behind_ms, progress.event_ms) == (41, 0, -1, -1)
    assert (
        transactions.confirmed,
        transactions.last_passed_batch,
        transactions.is_open,
        transactions.unacknowledged_transactions(),
        transactions.unacknowledged_records(),
    ) == (0, 0, False, 0, 0)
    assert transactions.oldest_commit_ms() is None
    assert transactions.publish() is False
    assert InFlightTransactions(ScriptedPublisher(), None).progress.position is None


def test_an_acknowledged_transaction_is_counted_with_its_rows_and_times() -> None:
    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 0)
    started_ms = time.time_ns() // 1_000_000
    add_transaction(transactions, started_ms - 5_000, 1, 2, end_lsn=100)
    assert transactions.publish() is True
    assert transactions.publish() is False
    acknowledge(transactions, publisher, 1)
    ended_ms = time.time_ns() // 1_000_000
    progress = transactions.progress
    assert (progress.published, progress.acknowledged, progress.transactions, progress.position) == (2, 2, 1, 2)
    assert progress.commit_ms == started_ms - 5_000
    assert 5_000 <= progress.behind_ms <= ended_ms - started_ms + 5_000
    assert started_ms <= progress.event_ms <= ended_ms
    assert (transactions.confirmed, transactions.last_passed_batch) == (100, 1)


def test_counts_add_up_over_transactions_and_the_newest_commit_is_shown() -> None:
    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 0)
    add_transaction(transactions, 9_000, 1, 2)
    add_transaction(transactions, 7_000, 3)
    transactions.publish()
    acknowledge(transactions, publisher, 1, 2)
    progress = transactions.progress
    assert (progress.published, progress.acknowledged, progress.transactions, progress.commit_ms) == (3, 3, 2, 9_000)
    assert progress.position == 3
    assert transactions.oldest_commit_ms() is None


def test_a_commit_time_in_the_future_gives_no_negative_delay() -> None:
    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 0)
    add_transaction(transactions, time.time_ns() // 1_000_000 + 3_600_000, 1)
    transactions.publish()
    acknowledge(transactions, publisher, 1)
    assert transactions.progress.behind_ms == 0


def test_a_transaction_without_events_does_not_count_as_an_acknowledged_event() -> None:
    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 7)
    transactions.open(5_000)
    transactions.close(100)
    transactions.publish()
    acknowledge(transactions, publisher, 1)
    assert (transactions.progress.event_ms, transactions.progress.transactions, transactions.progress.acknowledged) == (
        -1,
        1,
        0,
    )
    assert (transactions.progress.position, transactions.confirmed) == (7, 100)


def test_the_parts_of_a_transaction_are_one_batch() -> None:
    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 0)
    transactions.open(5_000)
    opened = transactions.is_open
    transactions.add(records(1, 2), 2, 2)
    transactions.publish()
    assert publisher.sealed == []
    transactions.add(records(3), 2, 4)
    assert transactions.close(100) == 1
    assert (opened, transactions.is_open) == (True, False)
    transactions.publish()
    assert [batch_id for batch_id, _ in publisher.records] == [1, 1, 1]
    assert publisher.sealed == [1]
    acknowledge(transactions, publisher, 1)
    assert (transactions.progress.acknowledged, transactions.progress.published, transactions.progress.position) == (
        4,
        3,
        4,
    )


def test_records_that_the_publisher_does_not_accept_wait_in_order() -> None:
    publisher = ScriptedPublisher(room=2)
    transactions = InFlightTransactions(publisher, 0)
    add_transaction(transactions, 5_000, 1, 2, 3, end_lsn=100)
    add_transaction(transactions, 6_000, 4, end_lsn=200)
    assert transactions.publish() is True
    assert (
        transactions.unacknowledged_records(),
        transactions.handed_over_records(),
        transactions.progress.published,
    ) == (4, 2, 2)
    assert transactions.publish() is False
    assert publisher.sealed == []
    publisher.room = 10
    assert transactions.publish() is True
    assert publisher.sealed == [1, 2]
    positions = [dict(record.headers)["position"] for _, record in publisher.records]
    assert positions == [b"1", b"2", b"3", b"4"]
    assert (transactions.unacknowledged_transactions(), transactions.oldest_commit_ms()) == (2, 5_000)


@pytest.mark.parametrize(
    ("waiting", "room"), [(0, MAX_WAITING_RECORDS), (MAX_WAITING_RECORDS - 1, 1), (MAX_WAITING_RECORDS, 0)]
)
def test_free_capacity_is_the_number_of_records_that_may_still_wait(waiting: int, room: int) -> None:
    transactions = InFlightTransactions(ScriptedPublisher(room=0), 0)
    transactions.open(5_000)
    if waiting:
        transactions.add(records(1) * waiting, waiting, waiting)
    assert (transactions.free_capacity(), transactions.has_capacity()) == (room, room > 0)


def test_a_read_beyond_the_capacity_leaves_none() -> None:
    transactions = InFlightTransactions(ScriptedPublisher(room=0), 0)
    transactions.open(5_000)
    for _ in range(2):
        transactions.add(records(1) * MAX_WAITING_RECORDS, 1, 1)
    assert (transactions.free_capacity(), transactions.has_capacity(), transactions.unacknowledged_records()) == (
        0,
        False,
        2 * MAX_WAITING_RECORDS,
    )


def test_the_end_of_the_wal_is_confirmed_only_when_nothing_is_in_flight() -> None:
    publisher = ScriptedPublisher(room=0)
    transactions = InFlightTransactions(publisher, 0)
    transactions.confirm_idle_wal(50)
    assert transactions.confirmed == 50
    transactions.open(5_000)
    transactions.confirm_idle_wal(60)
    assert transactions.confirmed == 50
    transactions.add(records(1), 1, 1)
    transactions.close(70)
    transactions.confirm_idle_wal(80)
    assert transactions.confirmed == 50
    publisher.room = 1
    transactions.publish()
    transactions.confirm_idle_wal(90)
    assert transactions.confirmed == 50
    acknowledge(transactions, publisher, 1)
    assert transactions.confirmed == 70
    transactions.confirm_idle_wal(90)
    assert transactions.confirmed == 90


def test_the_time_out_for_acknowledgements_reaches_the_publisher() -> None:
    publisher = ScriptedPublisher()
    transactions = InFlightTransactions(publisher, 0)
    transactions.collect()
    transactions.collect(0.25)
    assert publisher.waited_s == [0.0, 0.25]
