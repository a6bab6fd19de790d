"""How far groups are behind in Kafka, for ``status`` and for people: a hint, since fences decide (invariant 4)."""

from __future__ import annotations

from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.admin import OffsetSpec

from infrastructure.kafka.admin import TIMEOUT_S, TopicError, admin, partition_counts


class GroupLag(NamedTuple):
    """One partition as a group sees it; ``committed`` is None before the first commit."""

    committed: int | None
    end: int

    @property
    def records(self) -> int:
        """Records between the commit and the end; a commit beyond the end (a wiped topic) counts as 0."""
        return max(0, self.end - (self.committed or 0))


def end_offsets(bootstrap: str, topic: str, *, timeout_s: float = TIMEOUT_S) -> dict[int, int]:
    """Partition -> the offset that its next record gets.

    The embedded broker reports, in place of it, the first offset of the last batch plus one: never too high, too low
    by less than one batch. Raises TopicError when Kafka is away or the topic is missing.
    """
    with admin(bootstrap, timeout_s) as client:
        return _offsets(client, topic, OffsetSpec.LATEST)


def start_offsets(bootstrap: str, topic: str, *, timeout_s: float = TIMEOUT_S) -> dict[int, int]:
    """Partition -> its first offset that is still there. Raises TopicError as ``end_offsets`` does."""
    with admin(bootstrap, timeout_s) as client:
        return _offsets(client, topic, OffsetSpec.EARLIEST)


def group_lag(bootstrap: str, group: str, topic: str, *, timeout_s: float = TIMEOUT_S) -> dict[int, GroupLag]:
    """Partition -> how far ``group`` has committed, and the end. Raises TopicError as ``end_offsets`` does."""
    with admin(bootstrap, timeout_s) as client:
        ends = _offsets(client, topic, OffsetSpec.LATEST)
        committed = client.list_group_offsets({group: None}).get(group, {})
    lag: dict[int, GroupLag] = {}
    for partition, end in ends.items():
        at = committed.get(TopicPartition(topic, partition))
        lag[partition] = GroupLag(at.offset if at is not None and at.offset >= 0 else None, end)
    return lag


def _offsets(client: Any, topic: str, spec: OffsetSpec) -> dict[int, int]:
    count = partition_counts(client, [topic]).get(topic)
    if count is None:
        raise TopicError(f"there is no topic {topic}: `serve` makes the topics at its start")
    wanted = {TopicPartition(topic, partition): spec for partition in range(count)}
    return {at.partition: found.offset for at, found in client.list_partition_offsets(wanted).items()}
