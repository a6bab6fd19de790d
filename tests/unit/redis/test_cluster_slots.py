"""Which slot of a Redis Cluster a command goes to, and what the nodes say of themselves."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import AskError, MovedError

from domain.identifiers import SHARDS
from infrastructure.redis.cluster_slots import (
    CrossSlotCommand,
    Redirect,
    parse_cluster_slots,
    redirect_of,
    slot_of,
    slot_of_command,
)
from infrastructure.settings.redis_address import NodeAddress
from infrastructure.sinks.published_checkpoints import checkpoint_key
from projections.catalogue import PROJECTIONS
from read_models.redis_keys import REFOLD, changes_key, fence_key, parked_key, slot_key, slots_key, state_key

ASKED = NodeAddress("asked", 7000)
ONE, TWO = NodeAddress("10.0.0.1", 7001), NodeAddress("10.0.0.2", 7002)


@given(st.sampled_from(sorted(PROJECTIONS)), st.integers(1, 10**9), st.integers(0, SHARDS - 1), st.integers(0, 10**4))
def test_invariant_4_all_keys_of_a_shard_are_in_one_slot(name: str, generation: int, shard: int, slot: int) -> None:
    """The script that moves states and fence together runs on one node."""
    of = (name, generation, shard)
    kinds = (state_key, fence_key, slots_key, changes_key, parked_key)
    keys = [kind(*of, area) for kind in kinds for area in ("", REFOLD)]
    keys += [slot_key(*of, slot, area) for area in ("", REFOLD)]
    assert len({slot_of(key) for key in keys}) == 1
    command = ("EVALSHA", "sha", len(keys), *keys, "an argument", b"\xff")
    assert slot_of_command(command) == slot_of(keys[0]) == slot_of_command(("UNLINK", *keys))


def test_the_shards_of_a_projection_spread_over_the_slots() -> None:
    slots = {slot_of(fence_key("speed", 1, shard)) for shard in range(SHARDS)}
    assert len(slots) == SHARDS
    thirds = [sum(slot * 3 // 16_384 == third for slot in slots) for third in range(3)]
    assert min(thirds) >= SHARDS // 6
    assert slot_of(checkpoint_key("speed", 3)) != slot_of(fence_key("speed", 1, 3))


@pytest.mark.parametrize(
    "command",
    [
        ("UNLINK", state_key("speed", 1, 3), state_key("speed", 1, 4)),
        ("EVALSHA", "sha", 2, fence_key("speed", 1, 3), fence_key("speed", 2, 3), "argument"),
    ],
)
def test_a_command_over_two_shards_is_a_mistake_that_says_so(command: tuple[Any, ...]) -> None:
    with pytest.raises(CrossSlotCommand, match="keys in 2 slots of a Redis Cluster; one command may touch one shard"):
        slot_of_command(command)


def test_the_map_of_slots_names_primaries_replicas_and_gaps() -> None:
    found = parse_cluster_slots(
        [
            [0, 99, [b"10.0.0.1", 7001, b"id", []], [b"10.0.0.2", 7002, b"id", []]],
            [200, 16_383, ["10.0.0.2", 7002, "id"], ["", 7003, "id"]],
        ],
        ASKED,
    )
    assert (found.owner(0), found.owner(99), found.owner(200), found.owner(16_383)) == (ONE, ONE, TWO, TWO)
    assert found.primaries == {ONE, TWO}
    assert found.replicas == {NodeAddress("asked", 7003)}
    assert found.uncovered == 100
    with pytest.raises(redis.ConnectionError, match="no primary of the cluster serves slot 100"):
        found.owner(100)


@pytest.mark.parametrize("answer", [None, [[0, 99]], [[0, 99, [b"a"]]], [[0, 16_384, [b"a", 1]]], [[9, 3, [b"a", 1]]]])
def test_invariant_16_an_answer_that_is_no_map_is_an_unavailable_cluster(answer: Any) -> None:
    with pytest.raises(redis.ConnectionError, match="asked:7000 gives no map of the cluster's slots"):
        parse_cluster_slots(answer, ASKED)


@pytest.mark.parametrize(
    ("error", "redirect"),
    [
        (MovedError("3 10.0.0.1:7001"), Redirect(ONE, asks=False)),
        (AskError("3 10.0.0.2:7002"), Redirect(TWO, asks=True)),
        (redis.ResponseError("MOVED 3 10.0.0.1:7001"), Redirect(ONE, asks=False)),
        (redis.ResponseError("ASK 3 10.0.0.2:7002"), Redirect(TWO, asks=True)),
        (redis.ResponseError("MOVED 3 :7001"), Redirect(NodeAddress("asked", 7001), asks=False)),
        (redis.ResponseError("ERR unknown command"), None),
        (redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), None),
    ],
)
def test_where_a_node_sends_a_command(error: redis.ResponseError, redirect: Redirect | None) -> None:
    assert redirect_of(error, ASKED) == redirect
