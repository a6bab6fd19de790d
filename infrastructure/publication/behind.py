"""Finds the keys whose published value is out of date, and those that another generation may have published."""

from __future__ import annotations

import logging
from collections.abc import Callable

from infrastructure.publication.marks import Mark
from projections.ports import Log, Sink

log = logging.getLogger("ridelog.publication")

READ_EVENTS = 5_000
MOST_EVENTS = 50_000
"""Past this, to publish the whole shard is less work than to read what happened in it."""


def why_all(mark: Mark | None, now: Mark) -> str | None:
    """Why nothing is known of what the topic shows; None: the mark is an earlier place of the same way to ``now``."""
    if mark is None:
        return "the shard was never published as a whole, or two publishers met"
    if mark.topic != now.topic:
        return "the topic was made again"
    if mark.generation != now.generation:
        return f"the topic shows generation {mark.generation}"
    if (mark.fence.log_id, mark.fence.incarnation) != (now.fence.log_id, now.fence.incarnation):
        return "the shard was folded anew or a key was unparked"
    return "the shard was taken back" if mark.fence.seq > now.fence.seq else None


def changed_keys(log: Log, stream: str, shard: int, after: int, upto: int) -> list[str] | None:
    """Keys with an event in (``after``, ``upto``]; None if there are too many events, or the log has not all."""
    if upto - after > MOST_EVENTS:
        return None
    keys: dict[str, None] = {}
    while after < upto:
        events = log.read_shard(stream, shard, after, min(READ_EVENTS, upto - after))
        if not events:
            return None
        keys.update((event.key, None) for event in events)
        after = events[-1].seq
    return list(keys)


def keys_of_others(
    log_port: Log, stream: str, shard: int, mark: Mark | None, now: Mark, sink_of: Callable[[int], Sink]
) -> set[str]:
    """Keys that other generations may have left on the topic: of the one that it shows, and of both neighbours.

    Without a mark two publishers met, which are neighbours. Of a generation that is gone, the log names the keys: all
    that have an event up to ``now``. Raises PortUnavailable.
    """
    shows = mark.generation if mark is not None and mark.topic == now.topic else now.generation
    keys: set[str] = set()
    for generation in {shows, now.generation - 1, now.generation + 1} - {0, now.generation}:
        dump = sink_of(generation).snapshot(shard)
        keys.update(dump.states)
        if generation == shows and dump.fence is None:
            keys |= _every_key(log_port, stream, shard, now.fence.seq)
    return keys


def _every_key(log_port: Log, stream: str, shard: int, upto: int) -> set[str]:
    keys: set[str] = set()
    after = 0
    while after < upto and (events := log_port.read_shard(stream, shard, after, min(READ_EVENTS, upto - after))):
        if after == 0 and events[0].seq > 1:
            log.warning(
                "the first events of %s shard %d were detached: a key that only they have stays on the topic if the "
                "new generation lacks it; delete the topic, it is made and filled again",
                stream,
                shard,
            )
        keys.update(event.key for event in events)
        after = events[-1].seq
    return keys
