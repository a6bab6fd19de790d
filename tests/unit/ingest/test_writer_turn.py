"""Two writer threads of one process record in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from infrastructure.ingest.writer_turn import WriterTurn
from tests.support.waiting import eventually


class HeldRecorder:
    """Notes who recorded what; the first call is held until ``gate`` is set."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.inside = 0
        self.entered, self.gate = threading.Event(), threading.Event()

    def of(self, name: str) -> Callable[[Sequence[int]], list[int]]:
        def record(items: Sequence[int]) -> list[int]:
            self.inside += 1
            assert self.inside == 1, "two writers record at once"
            self.order.append(name)
            self.entered.set()
            assert self.gate.wait(10)
            self.inside -= 1
            return list(items)

        return record


def test_a_waiting_writer_comes_before_the_next_batch_of_a_busy_one() -> None:
    turn, recorder = WriterTurn(), HeldRecorder()
    pings, commands = turn.taking(recorder.of("pings")), turn.taking(recorder.of("commands"))

    def busy() -> None:
        for number in range(3):
            assert pings([number]) == [number]

    busy_thread = threading.Thread(target=busy)
    busy_thread.start()
    assert recorder.entered.wait(10)
    waiting_thread = threading.Thread(target=commands, args=([7],))
    waiting_thread.start()
    eventually(turn._entrance.locked, what="the commands wait for their turn")
    recorder.gate.set()
    busy_thread.join(10)
    waiting_thread.join(10)
    assert recorder.order == ["pings", "commands", "pings", "pings"]


def test_a_failed_record_ends_its_turn() -> None:
    def fails(_items: Sequence[int]) -> list[int]:
        raise OSError("no disk")

    turn, recorder = WriterTurn(), HeldRecorder()
    recorder.gate.set()
    with pytest.raises(OSError, match="no disk"):
        turn.taking(fails)([1])
    assert turn.taking(recorder.of("pings"))([1]) == [1]
