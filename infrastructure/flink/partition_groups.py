"""Assigns the partitions of a topic to the subtasks of a job in groups of one size. Pure.

All partitions of a subtask are one key of the window, so that one call of Python has the records of all of them: the
head of the log is read once, and each store is written in one round trip. Flink assigns a key to a subtask by its hash.
Partitions as keys were spread unevenly: of 8 on 2 subtasks, one had 3 and the other 5. So the key of a group is a
number whose hash leads to the wanted subtask. If Flink hashed in another way, two groups would share a subtask, and
nothing would be lost: a partition belongs to one group in any case.
"""

from __future__ import annotations

from itertools import count

_MASK = (1 << 32) - 1
_ROW_SEED = 42
MIN_KEY_GROUPS, MAX_KEY_GROUPS = 1 << 7, 1 << 15


def group_keys(partitions: int, parallelism: int) -> tuple[int, ...]:
    """The keys of the groups: partition p is in group p mod their number, and group g on subtask g."""
    return tuple(_key_of(subtask, parallelism) for subtask in range(min(partitions, parallelism)))


def group_expression(partitions: int, parallelism: int) -> str:
    """SQL for the key of the group of `partition`."""
    keys = group_keys(partitions, parallelism)
    if len(keys) == 1:
        return str(keys[0])
    cases = " ".join(f"WHEN {group} THEN {key}" for group, key in enumerate(keys[:-1]))
    return f"CASE MOD(`partition`, {len(keys)}) {cases} ELSE {keys[-1]} END"


def key_groups(parallelism: int) -> int:
    """Flink's default number of key groups, its "maximum parallelism"."""
    wanted = parallelism + parallelism // 2
    return min(max(1 << (wanted - 1).bit_length(), MIN_KEY_GROUPS), MAX_KEY_GROUPS)


def subtask_of(key: int, parallelism: int) -> int:
    """The subtask to which Flink assigns a row whose key is this INT."""
    groups = key_groups(parallelism)
    return _key_group_hash(_row_hash(key)) % groups * parallelism // groups


def _key_of(subtask: int, parallelism: int) -> int:
    return next(key for key in count() if subtask_of(key, parallelism) == subtask)


def _row_hash(key: int) -> int:
    """``BinaryRowData.hashCode`` of a row with one INT: its words are the header, in two halves, and the field."""
    found = _ROW_SEED
    for word in (0, 0, key, 0):
        found = (_rotated(found ^ _mixed(word), 13) * 5 + 0xE6546B64) & _MASK
    return _finished(found ^ 16)


def _key_group_hash(code: int) -> int:
    """``MathUtils.murmurHash``: not negative."""
    found = _finished(((_rotated(_mixed(code), 13) * 5 + 0xE6546B64) & _MASK) ^ 4)
    signed = found - (1 << 32) if found >> 31 else found
    return 0 if signed == -(1 << 31) else abs(signed)


def _mixed(word: int) -> int:
    return _rotated(word * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (32 - bits)) & _MASK


def _finished(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EBCA6B & _MASK
    word = (word ^ word >> 13) * 0xC2B2AE35 & _MASK
    return word ^ word >> 16
