"""What a plain consumer finds on a topic, without waiting for more than there is."""

from __future__ import annotations

from confluent_kafka import Consumer, Message


def arrived(consumer: Consumer, silence_s: float) -> list[Message]:
    """Some records as soon as there are any; none after so long a silence.

    ``consume`` alone waits out its whole time unless as many come as were asked for.
    """
    first = consumer.poll(silence_s)
    return [] if first is None else [first, *consumer.consume(5_000, 0)]
