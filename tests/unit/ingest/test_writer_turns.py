"""Pings and commands of one process are never executed at the same time, and neither waits for a gap of the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from infrastructure.ingest.writer_turns import WriterTurns


def test_two_writers_are_never_at_work_at_once() -> None:
    turns, inside, order = WriterTurns(), threading.Lock(), list[str]()
    stop = threading.Event()

    def record(items: Sequence[str]) -> list[str]:
        assert inside.acquire(blocking=False), "two writers at once"
        order.extend(items)
        inside.release()
        return list(items)

    pings, commands = turns.in_turn(record), turns.in_turn(record)

    def phone() -> None:
        while not stop.is_set():
            pings(["ping"])

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(phone)
        try:
            for number in range(200):
                assert commands([f"command {number}"]) == [f"command {number}"]
        finally:
            stop.set()
        sending.result(10)
    assert [one for one in order if one != "ping"] == [f"command {number}" for number in range(200)]


def test_a_writer_that_fails_gives_its_turn_back() -> None:
    turns = WriterTurns()

    def fails(_items: Sequence[str]) -> list[str]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        turns.in_turn(fails)(["a"])
    assert turns.in_turn(list)(["b"]) == ["b"]


def test_a_waiting_writer_gets_the_turn_before_the_one_that_just_had_it() -> None:
    turns, order = WriterTurns(), list[str]()
    entered, go_on = threading.Event(), threading.Event()

    def slow(items: Sequence[str]) -> list[str]:
        entered.set()
        assert go_on.wait(10)
        order.extend(items)
        return list(items)

    def quick(items: Sequence[str]) -> list[str]:
        order.extend(items)
        return list(items)

    def twice() -> None:
        turns.in_turn(slow)(["first"])
        turns.in_turn(quick)(["first again"])

    one = threading.Thread(target=twice)
    one.start()
    assert entered.wait(10)
    other = threading.Thread(target=turns.in_turn(quick), args=(["other"],))
    other.start()
    while not turns._next.locked():  # until the other waits
        pass
    go_on.set()
    one.join(10)
    other.join(10)
    assert order == ["first", "other", "first again"]
