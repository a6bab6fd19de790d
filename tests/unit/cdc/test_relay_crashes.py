"""After any crash at any time, the topic holds every position, and first occurrences are in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.relay.relay_world import RelayWorld

ACTS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 7)),
    st.tuples(st.sampled_from(["step", "land"]), st.integers(1, 8)),
    st.tuples(st.just("run"), st.integers(2, 12)),
    st.tuples(st.sampled_from(["beat", "crash", "lose_slot"]), st.just(0)),
    st.tuples(st.sampled_from(["wal", "polling"]), st.just(0)),
)


def act(world: RelayWorld, what: str, number: int) -> None:
    if what in ("wal", "polling"):
        if world.relay is not None:
            world.crash()
        world.start(what)
    elif what == "write":
        world.write(number)
    elif what == "land":
        world.publisher.land(number)
    elif what in ("step", "run"):
        for _ in range(number):
            if world.relay is not None:
                world.relay.step(0)
            if what == "run":
                world.publisher.land(9)
    else:
        getattr(world, what)()
    check(world)


def check(world: RelayWorld) -> None:
    """First occurrences are in order in each partition, and every position up to the checkpoint or the slot is
    present."""
    landed = {position for positions in world.topic.values() for position in positions}
    assert landed >= set(range(1, (world.checkpoint or 0) + 1))
    assert landed >= world.confirmed()
    for partition, positions in world.topic.items():
        first_times = list(dict.fromkeys(positions))
        due = [p for p in range(1, world.head + 1) if (p % 5) % 2 == partition]
        assert first_times == due[: len(first_times)]


def finish(world: RelayWorld, kind: str) -> None:
    act(world, kind, 0)
    for _ in range(1_000):
        act(world, "run", 1)
        if world.checkpoint == world.head:
            return
    raise AssertionError(f"the relay is at {world.checkpoint} of {world.head}")


@settings(max_examples=200)
@given(st.integers(0, 1 << 30), st.lists(ACTS, max_size=60), st.sampled_from(["wal", "polling"]))
def test_invariant_2_the_topic_holds_every_position_in_order_after_any_crash(
    seed: int, acts: list[tuple[str, int]], last: str
) -> None:
    world = RelayWorld(seed)
    for what, number in acts:
        act(world, what, number)
    finish(world, last)
    assert {p for positions in world.topic.values() for p in positions} == set(range(1, world.head + 1))


def test_a_slot_lost_after_the_last_event_leaves_no_gap() -> None:
    world = RelayWorld(1)
    act(world, "wal", 0)
    for number in (3, 4, 5):
        act(world, "write", number)
    act(world, "lose_slot", 0)
    finish(world, "wal")
    assert sorted(p for positions in world.topic.values() for p in positions) == list(range(1, 13))
