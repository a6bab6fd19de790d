"""Answers are recorded next to the requests: a share of them, within a limit."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import REGISTRY

from infrastructure.operations.served_read_log import MAX_MISSING_KEYS, ServedReadRecorder
from projections.core.ports import PortUnavailable
from projections.parity.served_reads import ServedRead
from read_models.view import ViewLimits
from tests.support.waiting import eventually


def read(number: int) -> ServedRead:
    return ServedRead("anna", 1, number, number, 0, ViewLimits(), True, b"{}")


class Store:
    def __init__(self) -> None:
        self.kept: list[ServedRead] = []
        self.unavailable = False

    def write(self, reads: Sequence[ServedRead]) -> int:
        if self.unavailable:
            raise PortUnavailable("Postgres: unavailable")
        self.kept += reads
        return len(reads)


def dropped() -> float:
    return REGISTRY.get_sample_value("ridelog_served_reads_dropped_total") or 0.0


def recorder(store: Store, share: float = 1.0, most: int = 100, chance: float = 0.5) -> ServedReadRecorder[ServedRead]:
    return ServedReadRecorder(share, store.write, lambda: None, max_waiting=most, chance=lambda: chance)


def test_a_share_is_recorded() -> None:
    store = Store()
    for share, kept in ((0.0, 0), (0.49, 0), (0.51, 1), (1.0, 1)):
        store.kept.clear()
        one = recorder(store, share)
        one(read(1))
        one.flush()
        assert len(store.kept) == kept, share


def test_a_share_of_zero_records_nothing_even_if_chance_gives_zero() -> None:
    store = Store()
    one = recorder(store, share=0.0, chance=0.0)
    one(read(1))
    one.flush()
    assert store.kept == []


def test_reads_beyond_the_limit_are_counted_and_dropped() -> None:
    store, before = Store(), dropped()
    one = recorder(store, most=3)
    for number in range(5):
        one(read(number))
    one.flush()
    assert [kept.version for kept in store.kept] == [0, 1, 2]
    assert dropped() - before == 2


def test_an_unavailable_database_loses_recorded_reads_and_fails_no_request() -> None:
    store, before = Store(), dropped()
    one = recorder(store)
    store.unavailable = True
    one(read(1))
    one.flush()
    store.unavailable = False
    one(read(2))
    one.flush()
    assert [kept.version for kept in store.kept] == [2]
    assert dropped() - before == 1


def test_the_thread_writes_once_a_second_and_at_the_end() -> None:
    store = Store()
    one = recorder(store)
    one.start()
    one(read(1))
    eventually(lambda: store.kept, what="it is written within a second or so")
    one(read(2))
    one.stop()
    assert [kept.version for kept in store.kept] == [1, 2]


def missing(key: str) -> ServedRead:
    return ServedRead(key, 1, 0, 50, 0, ViewLimits(), True, b"")


def test_every_404_of_a_known_key_is_recorded_whatever_the_share_and_no_other() -> None:
    store = Store()
    one = ServedReadRecorder(
        0.01,
        store.write,
        lambda: None,
        known=lambda reads: [read for read in reads if read.key.startswith("known")],
        chance=lambda: 0.5,
    )
    before = dropped()
    for _ in range(3):
        for key in ("known-a", "known-b", "made-up"):
            one(missing(key))
        one(read(1))
        one.flush()
    # Each key once a minute, so a client that requests it all the time does not fill the table.
    assert [kept.key for kept in store.kept] == ["known-a", "known-b"]
    assert dropped() == before


def test_invariant_15_invented_keys_are_bounded_in_number() -> None:
    asked: list[int] = []

    def known(reads: Sequence[ServedRead]) -> Sequence[ServedRead]:
        asked.append(len(reads))
        return []

    one = ServedReadRecorder(1.0, Store().write, lambda: None, known=known)
    for number in range(3 * MAX_MISSING_KEYS):
        one(missing(f"made-up-{number}"))
    one.flush()
    assert asked == [MAX_MISSING_KEYS]


def test_a_share_of_zero_records_no_404_either() -> None:
    store = Store()
    one = recorder(store, share=0.0)
    one(missing("anna"))
    one.flush()
    assert store.kept == []


def test_a_recorder_that_keeps_trying_loses_nothing_within_its_limit() -> None:
    store, before = Store(), dropped()
    one: ServedReadRecorder[ServedRead] = ServedReadRecorder(
        1.0, store.write, lambda: None, max_waiting=4, keeps_trying=True
    )
    store.unavailable = True
    for number in (1, 2, 3):
        one(read(number))
    one.flush()
    one(read(4))
    one.flush()
    store.unavailable = False
    one.flush()
    assert [kept.version for kept in store.kept] == [1, 2, 3, 4]
    assert dropped() == before


def test_invariant_15_a_recorder_that_keeps_trying_drops_the_oldest_beyond_its_limit() -> None:
    before = dropped()

    def write(reads: Sequence[ServedRead]) -> int:
        for number in (4, 5, 6):
            one(read(number))  # answers that are given meanwhile
        raise PortUnavailable("Postgres: unavailable")

    one: ServedReadRecorder[ServedRead] = ServedReadRecorder(1.0, write, lambda: None, max_waiting=4, keeps_trying=True)
    for number in (1, 2, 3):
        one(read(number))
    one.flush()
    assert dropped() == before + 2
