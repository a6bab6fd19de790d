"""Which keys of a shard a topic does not show as they are."""

from __future__ import annotations

from infrastructure.publication.marks import Mark
from projections.ports import Log

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
