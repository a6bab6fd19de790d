"""What may be released after what: our own contracts, and what the registry lets clients register."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from domain.events.contracts import Contract, contracts, current, versions
from infrastructure.schema_registry.canonical import fingerprint
from infrastructure.schema_registry.compatibility import InvalidSchema, backward_problems, parse
from infrastructure.schema_registry.release_check import contract_problems

Fields = list[dict[str, Any]]


def text(schema: Any) -> str:
    return json.dumps(schema)


def record(*fields: dict[str, Any]) -> str:
    return text({"type": "record", "name": "R", "namespace": "org.example", "fields": list(fields)})


def next_gps_ping(fields: Fields) -> str:
    return text({**current("GpsPing").schema, "fields": fields})


def gps_ping_fields() -> Fields:
    return [dict(field) for field in current("GpsPing").schema["fields"]]


def changed(name: str, /, **change: Any) -> str:
    return next_gps_ping([{**field, **(change if field["name"] == name else {})} for field in gps_ping_fields()])


def without(*names: str) -> Fields:
    return [field for field in gps_ping_fields() if field["name"] not in names]


NOW = text(current("GpsPing").schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [pair for name in sorted({c.record for c in contracts()}) for pair in combinations(versions(name), 2)],
    ids=lambda contract: f"{contract.record}.v{contract.version}",
)
def test_every_released_contract_may_follow_all_before_it(old: Contract, new: Contract) -> None:
    # Transitively: the log keeps version 1 for ever, however many versions came since.
    assert contract_problems(text(new.schema), text(old.schema)) == []


def test_versions_are_numbered_without_holes_and_contracts_are_flat() -> None:
    for contract in contracts():
        assert [c.version for c in versions(contract.record)] == list(range(1, len(versions(contract.record)) + 1))
        assert not any(isinstance(field["type"], dict) for field in contract.schema["fields"])


ALLOWED = {
    "a field is added with a default": next_gps_ping(
        [*gps_ping_fields(), {"name": "altitude_meters", "type": ["null", "float"], "default": None}]
    ),
    "an optional field is removed": next_gps_ping(without("source_service")),
    "a field is documented": changed("rider_id", doc="as the courier company calls the rider"),
    "fields change their order": next_gps_ping(gps_ping_fields()[::-1]),
}


@pytest.mark.parametrize("new", ALLOWED.values(), ids=ALLOWED)
def test_a_contract_may_change_so(new: str) -> None:
    assert contract_problems(new, NOW) == []


REFUSED = {
    "a required field is renamed": (changed("latitude", name="lat"), "lat"),
    "a required field is renamed with an alias": (changed("latitude", name="lat", aliases=["latitude"]), "renamed"),
    "a required field is renamed and given a default": (changed("latitude", name="lat", default=0.0), "renamed"),
    "an optional field is renamed": (changed("source_service", name="source"), "renamed"),
    "an optional field is renamed with an alias": (
        changed("source_service", name="source", aliases=["source_service"]),
        "renamed",
    ),
    "the record is renamed": (text({**current("GpsPing").schema, "name": "Fix"}), "name_mismatch"),
    "a type changes": (changed("rider_id", type="long"), "type_mismatch"),
    "a type is promoted": (changed("schema_version", type="long"), "changes its type"),
    "a type becomes optional": (changed("rider_id", type=["null", "string"]), "changes its type"),
    "a type gets a logical type": (
        changed("event_timestamp_ms", type={"type": "long", "logicalType": "timestamp-millis"}),
        "logical type",
    ),
    "a field is added without a default": (
        next_gps_ping([*gps_ping_fields(), {"name": "altitude_meters", "type": "float"}]),
        "altitude_meters",
    ),
    "a required field is removed": (next_gps_ping(without("latitude")), "required"),
    "a default changes": (changed("source_service", default="phone"), "changes its default"),
    "a default goes": (
        next_gps_ping([*without("source_service"), {"name": "source_service", "type": "string"}]),
        "changes its default",
    ),
}


@pytest.mark.parametrize(("new", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_contract_may_not_change_so(new: str, reason: str) -> None:
    assert reason in "; ".join(contract_problems(new, NOW))


INT, LONG = {"name": "a", "type": "int"}, {"name": "a", "type": "long"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
INNER = {"type": "record", "name": "I", "fields": [INT]}
WIDER = {"type": "record", "name": "I", "fields": [INT, {"name": "b", "type": "int"}]}

BACKWARD = {
    "the same": (record(INT), record(INT), True),
    "a promotion": (record(LONG), record(INT), True),
    "a promotion back": (record(INT), record(LONG), False),
    "a field removed": (record(), record(INT), True),
    "a field added without default": (record(INT), record(), False),
    "a union that grows": (record({"name": "a", "type": ["null", "int"]}), record(INT), True),
    "a union that shrinks": (record(INT), record({"name": "a", "type": ["null", "int"]}), False),
    "an alias": (record({"name": "b", "type": "int", "aliases": ["a"]}), record(INT), True),
    "a nested record": (record({"name": "i", "type": WIDER}), record({"name": "i", "type": INNER}), False),
    "an array's items": (text({"type": "array", "items": "int"}), text({"type": "array", "items": "long"}), False),
    "another logical type": (record({"name": "t", "type": MICROS}), record({"name": "t", "type": MILLIS}), False),
    "another logical type in a union": (
        record({"name": "t", "type": ["null", MICROS]}),
        record({"name": "t", "type": ["null", MILLIS]}),
        False,
    ),
    "another logical type in an array": (
        text({"type": "array", "items": MICROS}),
        text({"type": "array", "items": MILLIS}),
        False,
    ),
    "another logical type behind an alias": (
        record({"name": "u", "type": MICROS, "aliases": ["t"]}),
        record({"name": "t", "type": MILLIS}),
        False,
    ),
    "another scale": (
        text({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}),
        text({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        False,
    ),
}


@pytest.mark.parametrize(("new", "old", "fits"), BACKWARD.values(), ids=BACKWARD)
def test_backward_compatibility(new: str, old: str, fits: bool) -> None:
    assert (backward_problems(new, old) == []) is fits


INVALID = {
    "no JSON": "{",
    "no schema": "3",
    "an unknown type": record({"name": "a", "type": "Unheard"}),
    "a name twice": record(INT, INT),
    "a bad name": record({"name": "a-b", "type": "int"}),
    "nested without end": "[" * 100_000,
    "a default of another type": record({"name": "a", "type": "int", "default": "x"}),
    "a default beyond an int": record({"name": "a", "type": "int", "default": 2**31}),
    "a default true for an int": record({"name": "a", "type": "int", "default": True}),
    "a default of the second branch": record({"name": "a", "type": ["null", "int"], "default": 3}),
    "a default that is no symbol": record(
        {"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["A"]}, "default": "B"}
    ),
    "a default record without a field": record({"name": "a", "type": INNER, "default": {}}),
    "a default item": record({"name": "a", "type": {"type": "array", "items": "int"}, "default": ["x"]}),
    "a default in a nested record": record(
        {"name": "a", "type": {"type": "map", "values": {**INNER, "fields": [{**INT, "default": None}]}}}
    ),
}


@pytest.mark.parametrize("schema", INVALID.values(), ids=INVALID)
def test_an_invalid_schema_is_refused(schema: str) -> None:
    with pytest.raises(InvalidSchema):
        parse(schema)


def test_defaults_that_fit_are_accepted() -> None:
    parse(
        record(
            {"name": "a", "type": "double", "default": 1},
            {"name": "b", "type": "bytes", "default": "\u00ff"},
            {"name": "c", "type": {"type": "fixed", "name": "F", "size": 2}, "default": "ab"},
            {"name": "d", "type": {**INNER, "fields": [{**INT, "default": 1}]}, "default": {}},
            {"name": "e", "type": {"type": "map", "values": "int"}, "default": {"x": 1}},
            {"name": "f", "type": "boolean", "default": False},
            {"name": "g", "type": MILLIS, "default": 0},
        )
    )


def test_one_schema_has_one_fingerprint_however_it_is_written() -> None:
    short = '{"type": "record", "name": "R", "namespace": "org.example", "fields": [{"name": "a", "type": "int"}]}'
    long = '{"fields":[{"type":{"type":"int"},"name":"a"}],\n"name":"org.example.R","type":"record"}'
    assert fingerprint(short) == fingerprint(long)
    assert fingerprint(short) != fingerprint(record({**INT, "default": 1}))
    assert fingerprint(short) != fingerprint(record({**INT, "doc": "another"}))
    assert fingerprint(record(INT, {"name": "b", "type": "int"})) != fingerprint(
        record({"name": "b", "type": "int"}, INT)
    )
