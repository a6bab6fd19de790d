"""Schemas as bombs: bounded before they are parsed, and checked in a process that is ended when it takes too long."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

import pytest

from domain.events.contracts import contracts
from infrastructure.schema_registry.check_process import CheckProcess
from infrastructure.schema_registry.compatibility import InvalidSchema, Level, StoredSchema
from infrastructure.schema_registry.schema_bounds import MAX_DEPTH, SchemaTooLarge, check_bounds
from tests.support.waiting import eventually


def record(fields: int, name: str = "R", prefix: str = "f", kind: str = "int") -> str:
    return json.dumps(
        {"type": "record", "name": name, "fields": [{"name": f"{prefix}{n}", "type": kind} for n in range(fields)]}
    )


def union(records: int, prefix: str) -> str:
    one = {"type": "record", "fields": [{"name": "a", "type": "int"}]}
    return json.dumps([{**one, "name": f"{prefix}{n}"} for n in range(records)])


def nested(levels: int) -> str:
    return '{"type": "array", "items": ' * levels + '"int"' + "}" * levels


def field(**more: Any) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", **more}]})


TOO_MUCH: dict[str, tuple[str, str]] = {
    "bytes": (field(doc="x" * 65_536), "65,536"),
    "fields": (record(1_001), "1,001 fields"),
    "fields of records in a union": (
        json.dumps([json.loads(record(600, "A")), json.loads(record(600, "B"))]),
        "1,200 fields",
    ),
    "named types": (
        json.dumps(
            {
                "type": "record",
                "name": "R",
                "fields": [
                    {"name": f"f{n}", "type": {"type": "fixed", "name": f"F{n}", "size": 1}} for n in range(200)
                ],
            }
        ),
        "201 named types",
    ),
    "branches": (union(101, "A"), "101 branches"),
    "branches inside": (json.dumps({"type": "map", "values": ["int"] * 101}), "101 branches"),
    "symbols": (json.dumps({"type": "enum", "name": "E", "symbols": [f"S{n}" for n in range(2_001)]}), "symbols"),
    "aliases": (field(aliases=[f"a{n}" for n in range(17)]), "17 aliases"),
    "a name": (json.dumps({"type": "fixed", "name": "n" * 256, "size": 1}), "256 characters in a name"),
    "a namespace": (
        json.dumps({"type": "fixed", "name": "n", "namespace": "n." * 200, "size": 1}),
        "characters in a name",
    ),
    "a symbol": (json.dumps({"type": "enum", "name": "E", "symbols": ["S" * 256]}), "characters in a name"),
    "an alias": (field(aliases=["a" * 256]), "characters in a name"),
    "depth": (nested(MAX_DEPTH), "nested deeper"),
    "depth past what is parsed": (nested(2_000), "nested deeper"),
    "depth of a default": (field(default=json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)), "nested deeper"),
    "depth of a property": (field(mine=json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)), "nested deeper"),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_invariant_16_a_schema_beyond_a_bound_is_refused_with_the_bound_in_words(what: str) -> None:
    schema, words = TOO_MUCH[what]
    with pytest.raises(SchemaTooLarge, match=words):
        check_bounds(schema)


def test_schemas_at_the_bounds_pass() -> None:
    for schema in (record(1_000), union(100, "A"), nested(30), field(doc="x" * 60_000)):
        check_bounds(schema)
    for contract in contracts():
        check_bounds(json.dumps(contract.schema))


@pytest.fixture
def checks() -> Iterator[CheckProcess]:
    one = CheckProcess()
    yield one
    one.close()


def test_the_slowest_pairs_within_the_bounds_are_compared_in_time(checks: CheckProcess) -> None:
    for new, old in ((record(1_000, kind="long"), record(1_000)), (union(100, "A"), union(100, "B"))):
        assert checks.problems(Level.FORWARD, new, [StoredSchema(1, old)])


def test_a_check_that_takes_too_long_is_ended_and_the_next_is_done_by_another_process() -> None:
    checks = CheckProcess(timeout_s=1.0)
    try:
        assert checks.examine('"int"').fault == ""
        first = checks.pid
        olds = [StoredSchema(n, union(100, "B")) for n in range(200)]
        with pytest.raises(InvalidSchema, match="took longer than"):
            checks.problems(Level.BACKWARD_TRANSITIVE, union(100, "A"), olds)
        assert first is not None
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        assert checks.problems(Level.BACKWARD, '"long"', [StoredSchema(1, '"int"')]) == []
        assert checks.pid != first
    finally:
        checks.close()


def test_a_process_that_was_killed_or_had_nothing_to_do_is_replaced() -> None:
    checks = CheckProcess(idle_s=0.05)
    try:
        for number in (signal.SIGKILL, 0):
            assert checks.examine('"int"').fingerprint == checks.examine('{"type": "int"}').fingerprint
            pid = checks.pid
            assert pid is not None
            os.kill(pid, number)
            eventually(lambda: pid not in {one.pid for one in active_children()}, what="it has ended")  # noqa: B023
            assert checks.examine('"int"').fault == ""
            assert checks.pid != pid
    finally:
        checks.close()


def test_a_text_that_no_parser_bears_is_a_fault_and_no_end_of_the_process(checks: CheckProcess) -> None:
    pid = None
    for text in ("", "{", "[" * 100_000, '{"type": 5}', '{"type": {"type": []}}', '"\ud800"', "9" * 5_000, "null"):
        examined = checks.examine(text)
        assert examined.fault, text[:20]
        pid = pid or checks.pid
    assert checks.pid == pid


def test_a_version_from_before_the_bounds_is_named_and_the_level_none_passes_it(checks: CheckProcess) -> None:
    old = record(30_000)
    with pytest.raises(InvalidSchema, match=r"version 3, with which it must be compared, .* delete that version"):
        checks.problems(Level.BACKWARD, record(2), [StoredSchema(2, record(2)), StoredSchema(3, old)])
    assert checks.problems(Level.NONE, record(2), [StoredSchema(3, old)]) == []
    assert checks.problems(Level.BACKWARD, record(2), [StoredSchema(2, old), StoredSchema(3, record(2))]) == []


def test_what_is_said_of_many_problems_is_bounded(checks: CheckProcess) -> None:
    olds = [StoredSchema(n, record(1)) for n in range(60)]
    found = checks.problems(Level.BACKWARD_TRANSITIVE, record(200, prefix="g" * 200), olds)
    assert len(found) == 51
    assert found[-1] == "and 10 more"
    assert max(map(len, found)) <= 2_000
