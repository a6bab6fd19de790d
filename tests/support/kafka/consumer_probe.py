"""Reads the available records of a topic with a plain consumer."""

from __future__ import annotations

from confluent_kafka import Consumer, Message


def arrived(consumer: Consumer, silence_s: float) -> list[Message]:
    """Return records as soon as there are any; none after ``silence_s`` seconds without a record.

    ``consume`` alone waits for its whole time-out unless the requested number arrives.
    """
    first = consumer.poll(silence_s)
    return [] if first is None else [first, *consumer.consume(5_000, 0)]
