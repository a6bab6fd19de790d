"""What a worker knows of one shard: which events the states of its keys include already, and which states it keeps."""

from __future__ import annotations

import pytest

from projections.core.ports import Fence, LoggedEvent, ParkedEvent
from projections.core.shard_writer import ShardState

FENCE = Fence("a log", "one", 0, 0)


def event(key: str, version: int) -> LoggedEvent:
    return LoggedEvent(100 + version, 7, 50 + version, key, version, "GpsPing", b"bytes")


def ahead(version: int) -> ParkedEvent:
    return ParkedEvent(0, 0, version, "GpsPing", "ahead", "from a snapshot", 0)


@pytest.mark.parametrize(("version", "is_included"), [(1, True), (2, True), (3, True), (4, False), (9, False)])
def test_a_key_that_is_ahead_skips_the_events_that_its_state_includes(version: int, is_included: bool) -> None:
    state = ShardState[str](FENCE, FENCE, {"anna": ahead(3)})
    assert state.unfolded([event("anna", version)]) == ([] if is_included else [event("anna", version)])


def test_a_key_that_is_not_ahead_folds_every_event_from_its_first() -> None:
    state = ShardState[str](FENCE, FENCE, {"anna": ahead(3)})
    came = [event("ben", 1), event("anna", 1), event("ben", 2)]
    assert state.unfolded(came) == [came[0], came[2]]


def test_a_key_is_ahead_until_the_last_event_that_its_state_includes() -> None:
    state = ShardState[str](FENCE, FENCE, {"anna": ahead(3), "eve": ahead(1)})
    assert state.caught_up([event("ben", 1), event("ben", 9), event("anna", 1), event("anna", 2)]) == []
    assert state.caught_up([event("anna", 2), event("anna", 3), event("eve", 1)]) == ["anna", "eve"]


def test_a_key_that_is_parked_is_not_ahead() -> None:
    failed = ahead(3)._replace(kind="fold")
    state = ShardState[str](FENCE, FENCE, {"anna": failed, "ben": ahead(2)})
    assert (state.parked, state.ahead) == ({"anna": failed}, {"ben": ahead(2)})


def test_the_states_that_were_written_last_are_kept() -> None:
    state = ShardState[str](FENCE, FENCE)
    for key in ("anna", "ben", "eve"):
        state.put(key, key.upper())
    state.put("anna", "A")
    state.trim(2)
    assert sorted(state.missing({"anna", "ben", "eve"})) == ["ben"]
    assert (state.get("anna"), state.get("ben"), state.get("eve")) == ("A", None, "EVE")
