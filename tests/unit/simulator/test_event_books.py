"""The books of a demo: acknowledged and not in the log is lost, in the log twice is double."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.simulator.event_books import BooksBalance, EventBooks, EventName


def event(number: int) -> EventName:
    return f"rider-{number % 3}", str(number)


def read(books: EventBooks, *numbers: int) -> BooksBalance:
    """Read the log to its end, which has these new events."""
    marked = books.mark()
    books.record(map(event, numbers))
    books.check(marked)
    return books.balance()


def test_what_is_acknowledged_and_recorded_once_is_neither_lost_nor_double() -> None:
    books = EventBooks()
    books.acknowledge([event(1), event(2)])
    assert read(books, 1, 2) == BooksBalance(acknowledged=2, recorded=2)


def test_an_acknowledged_event_that_the_log_does_not_have_is_lost() -> None:
    books = EventBooks()
    books.acknowledge([event(1), event(2)])
    assert read(books, 2).lost == 1


def test_an_event_that_is_in_the_log_twice_is_double() -> None:
    books = EventBooks()
    books.acknowledge([event(1)])
    assert read(books, 1, 1).doubled == 1
    assert read(books, 1).doubled == 2


def test_an_answer_that_was_lost_and_repeated_is_acknowledged_once() -> None:
    books = EventBooks()
    assert read(books, 1).recorded == 1
    books.acknowledge([event(1)])
    books.acknowledge([event(1)])
    assert read(books) == BooksBalance(recorded=1)


def test_an_event_that_is_acknowledged_while_the_log_is_read_waits_for_the_next_read() -> None:
    books = EventBooks()
    marked = books.mark()
    books.acknowledge([event(1)])
    books.check(marked)
    assert (books.balance().waiting, books.balance().lost) == (1, 0)
    assert read(books, 1) == BooksBalance(acknowledged=1, recorded=1)


def test_invariant_15_the_books_are_bounded_and_say_what_they_dropped() -> None:
    books = EventBooks(max_remembered=10)
    books.acknowledge(map(event, range(25)))
    assert (books.balance().waiting, books.balance().dropped) == (10, 15)


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_lost_and_double_are_exactly_what_differs(acknowledged: set[int], once: set[int], again: set[int]) -> None:
    books = EventBooks()
    books.acknowledge(map(event, acknowledged))
    found = read(books, *once, *(again & once))
    assert found.lost == len(acknowledged - once)
    assert found.doubled == len(again & once)
    assert (found.recorded, found.waiting) == (len(once), 0)
