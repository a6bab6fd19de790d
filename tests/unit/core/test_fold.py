"""The result of one batch of a shard: states, rows, parked keys and state snapshots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.events.contracts import UndecodableError
from domain.features.keyed_event import KeyedEvent
from projections.analytics import ANALYTICS
from projections.core.fold import REASON_CHARS, Fold, FoldedShard, parked_event
from projections.core.ports import LoggedEvent, ParkedEvent, PortUnavailable
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshot
from read_models.rows import RowChange

NOW_MS = 1_790_000_000_123


def fold(state: tuple[Any, ...], event: KeyedEvent) -> tuple[Any, ...]:
    """The content of every event, in the order of arrival."""
    if event.data.get("poison"):
        raise ZeroDivisionError(event.data["poison"])
    return (*state, (event.key, event.version, event.position, event.event_type, event.data["n"]))


def encode(state: tuple[Any, ...]) -> bytes:
    if any(n == "too large" for *_, n in state):
        raise OverflowError("int too large")
    return json.dumps(state).encode()


def decode(payload: bytes) -> Mapping[str, Any]:
    if payload == b"garbage":
        raise UndecodableError("no contract reads this")
    if payload == b"unknown":
        raise PortUnavailable("the registry does not answer")
    data = json.loads(payload)
    assert isinstance(data, dict)
    return data


LISTED: Projection[Any] = Projection("speed", "Rider", 1, (), fold, encode, json.loads)


def events(*given: tuple[str, Mapping[str, Any] | bytes]) -> list[LoggedEvent]:
    """In one shard: which it is, a fold does not ask."""
    versions: dict[str, int] = {}
    found = []
    for number, (key, data) in enumerate(given):
        versions[key] = versions.get(key, 0) + 1
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        found.append(LoggedEvent(10 + number, 3, 5 + number, key, versions[key], "GpsPing", payload))
    return found


def run(
    batch: Sequence[LoggedEvent],
    known: Mapping[str, Any] | None = None,
    parked: Sequence[str] = (),
    discarded: Sequence[int] = (),
    every: int = SNAPSHOT_INTERVAL,
) -> FoldedShard[Any]:
    return Fold(LISTED, decode, lambda: NOW_MS, every).run(batch, (known or {}).get, parked, discarded)


def values(done: FoldedShard[Any]) -> dict[str, list[Any]]:
    return {key: [n for *_, n in state] for key, state in done.states.items()}


def test_each_key_is_folded_from_its_own_state_in_the_order_of_the_log() -> None:
    batch = events(("anna", {"n": 1}), ("ben", {"n": 2}), ("anna", {"n": 3}))
    done = run(batch, {"ben": (("ben", 0, 0, "", 0),)})
    assert done.states == {
        "anna": (("anna", 1, 10, "GpsPing", 1), ("anna", 2, 12, "GpsPing", 3)),
        "ben": (("ben", 0, 0, "", 0), ("ben", 1, 11, "GpsPing", 2)),
    }
    assert done.encoded == {key: encode(state) for key, state in done.states.items()}
    assert (done.parked, list(done.rows), list(done.snapshots)) == ({}, [], [])


def test_an_empty_batch_has_an_empty_result() -> None:
    assert run([]) == FoldedShard({}, {}, [], {}, 0, [])


def test_the_newest_event_time_is_the_highest_and_not_the_last() -> None:
    times = [5, 9, 7]
    batch = events(*(("anna", {"n": at, "event_timestamp_ms": at}) for at in times), ("anna", {"n": 0}))
    assert run(batch).newest_ms == 9
    assert run(batch[3:]).newest_ms == 0
    assert run(batch, parked=["anna"]).newest_ms == 0


def test_an_event_for_which_the_fold_raises_parks_its_key_with_position_and_cause() -> None:
    batch = events(("anna", {"n": 1}), ("anna", {"n": 2, "poison": "a fault"}), ("anna", {"n": 3}), ("ben", {"n": 4}))
    done = run(batch)
    assert values(done) == {"anna": [1], "ben": [4]}
    assert list(done.parked) == ["anna"]
    parked = done.parked["anna"]
    assert parked._replace(reason="") == ParkedEvent(6, 11, 2, "GpsPing", "fold", "", NOW_MS)
    line = fold.__code__.co_firstlineno + 3
    assert parked.reason == f"ZeroDivisionError: a fault at fold:{line}"


def test_undecodable_bytes_park_their_key() -> None:
    done = run(events(("anna", {"n": 1}), ("anna", b"garbage"), ("anna", {"n": 3})))
    assert values(done) == {"anna": [1]}
    expected = ParkedEvent(6, 11, 2, "GpsPing", "decode", "UndecodableError: no contract reads this", NOW_MS)
    assert done.parked == {"anna": expected}


def test_an_unavailable_registry_aborts_the_batch() -> None:
    with pytest.raises(PortUnavailable):
        run(events(("anna", {"n": 1}), ("anna", b"unknown")))


def test_a_state_that_cannot_be_encoded_parks_its_key_at_the_event_that_leads_to_it() -> None:
    batch = events(("anna", {"n": 1}), ("anna", {"n": "too large"}), ("anna", {"n": 3}), ("ben", {"n": 4}))
    done = run(batch)
    assert values(done) == {"anna": [1], "ben": [4]}
    assert done.encoded == {key: encode(state) for key, state in done.states.items()}
    assert done.parked == {"anna": ParkedEvent(6, 11, 2, "GpsPing", "refused", "OverflowError: int too large", NOW_MS)}


def test_parked_keys_and_discarded_events_are_skipped() -> None:
    batch = events(("anna", {"n": 1}), ("ben", {"n": 2}), ("ben", {"n": 3, "poison": "a fault"}), ("ben", {"n": 4}))
    done = run(batch, parked=["anna"], discarded=[12])
    assert values(done) == {"ben": [2, 4]}
    assert done.parked == {}


def test_a_snapshot_is_made_at_every_multiple_of_the_interval() -> None:
    batch = events(*(("anna", {"n": n}) for n in range(1, 8)), ("ben", {"n": 1}))
    done = run(batch, every=3)
    states = [done.states["anna"][:version] for version in (3, 6)]
    assert list(done.snapshots) == [
        StateSnapshot("anna", version, 9 + version, encode(state), batch[version - 1].payload)
        for version, state in zip((3, 6), states, strict=True)
    ]


def test_a_snapshot_is_the_same_when_the_batch_is_folded_event_by_event() -> None:
    batch = events(*(("anna", {"n": n}) for n in range(1, 5)), ("ben", {"n": "too large"}))
    assert [one.version for one in run(batch, every=2).snapshots] == [2, 4]
    assert run(batch, every=2).snapshots == run(batch[:4], every=2).snapshots


def test_no_snapshot_is_made_of_a_key_that_is_parked_there() -> None:
    batch = events(("anna", {"n": 1}), ("anna", {"n": 2, "poison": "a fault"}))
    assert list(run(batch, every=2).snapshots) == []
    unwritable = events(("anna", {"n": 1}), ("anna", {"n": "too large"}))
    done = run(unwritable, every=2)
    assert list(done.snapshots) == []
    assert (values(done), done.parked["anna"].kind) == ({"anna": [1]}, "refused")


def test_a_projection_with_tables_makes_merged_rows_and_no_snapshots() -> None:
    def changes(key: str, state: tuple[Any, ...]) -> Sequence[RowChange]:
        return [RowChange("sums", (key,), (state[-1][-1],), (state[-1][1],))]

    tabled = replace(LISTED, tables=ANALYTICS.tables, changes=changes)
    batch = events(("anna", {"n": 1}), ("ben", {"n": 2}), ("anna", {"n": 3, "poison": "a fault"}), ("ben", {"n": 4}))
    done = Fold(tabled, decode, lambda: NOW_MS, 1).run(batch, lambda _: None, (), ())
    assert list(done.snapshots) == []
    assert sorted(done.rows) == [RowChange("sums", ("anna",), (1,), (1,)), RowChange("sums", ("ben",), (6,), (2,))]
    assert run(batch).rows == []


def test_a_reason_is_cut_and_holds_no_nul() -> None:
    event = events(("anna", {"n": 1}))[0]
    assert parked_event(event, "decode", ValueError("a\0b"), NOW_MS).reason == "ValueError: a\\0b"
    assert (
        parked_event(event, "decode", ValueError("x" * 600), NOW_MS).reason
        == ("ValueError: " + "x" * 600)[:REASON_CHARS]
    )


def test_an_event_that_a_sink_rejects_is_parked_with_the_servers_message() -> None:
    event = events(("anna", {"n": 1}))[0]
    found = Fold(LISTED, decode, lambda: NOW_MS).rejected(event, OverflowError("numeric field overflow"))
    assert found == ParkedEvent(5, 10, 1, "GpsPing", "refused", "OverflowError: numeric field overflow", NOW_MS)


def test_the_reason_names_the_innermost_line_that_raised() -> None:
    def deep(state: tuple[Any, ...], event: KeyedEvent) -> tuple[Any, ...]:
        return middle()

    def middle() -> tuple[Any, ...]:
        return innermost()

    def innermost() -> tuple[Any, ...]:
        raise ZeroDivisionError("a fault")

    states: dict[str, Any] = {}
    done = Fold(replace(LISTED, fold=deep), decode, lambda: NOW_MS).run(events(("anna", {"n": 1})), states.get, (), ())
    line = innermost.__code__.co_firstlineno + 1
    assert done.parked["anna"].reason == f"ZeroDivisionError: a fault at innermost:{line}"


@pytest.mark.parametrize(
    ("data", "effective_ms"),
    [
        (b"garbage", 17),
        ({"n": 1}, 17),
        ({"event_timestamp_ms": 5_000}, 5_000),
        ({"event_timestamp_ms": 5_000, "received_timestamp_ms": None}, 5_000),
        ({"event_timestamp_ms": 5_000, "received_timestamp_ms": 3_000}, 5_000),
        # More than two seconds after its reception: the clock that measured it is ahead.
        ({"event_timestamp_ms": 5_001, "received_timestamp_ms": 3_000}, 3_000),
    ],
)
def test_the_effective_time_of_an_event_is_read_from_its_bytes(
    data: Mapping[str, Any] | bytes, effective_ms: int
) -> None:
    [event] = events(("anna", data))
    assert Fold(LISTED, decode, lambda: NOW_MS).effective_time_ms(event, 17) == effective_ms


def test_the_effective_time_waits_for_the_registry() -> None:
    [event] = events(("anna", b"unknown"))
    with pytest.raises(PortUnavailable):
        Fold(LISTED, decode, lambda: NOW_MS).effective_time_ms(event, 17)
