"""Compatibility levels: what each asks, how they relate, and that what they let pass can really be read."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_one
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from infrastructure.schema_registry.compatibility import Level, StoredSchema, backward_problems, level_problems

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
DEFAULTS: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 1,
    "long": 2,
    "float": 0.5,
    "double": 1.5,
    "bytes": "b",
    "string": "s",
}

primitives = st.sampled_from(PRIMITIVES)
enums = st.lists(st.sampled_from("ABC"), min_size=1, max_size=3, unique=True).flatmap(
    lambda symbols: st.sampled_from(
        [
            {"type": "enum", "name": "E", "symbols": symbols},
            {"type": "enum", "name": "E", "symbols": symbols, "default": symbols[0]},
        ]
    )
)
fixed = st.sampled_from([{"type": "fixed", "name": "F", "size": size} for size in (1, 2)])
unions = st.lists(primitives, min_size=1, max_size=3, unique=True)
types = st.one_of(
    primitives,
    unions,
    enums,
    fixed,
    primitives.map(lambda items: {"type": "array", "items": items}),
    unions.map(lambda values: {"type": "map", "values": values}),
)


@st.composite
def records(draw: st.DrawFn) -> str:
    """A record of up to three fields, of names that meet those of other records."""
    fields: list[dict[str, Any]] = []
    for name in draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True)):
        kind = draw(types)
        # A name is defined once in a schema.
        if isinstance(kind, dict) and any(isinstance(f["type"], dict) and f["type"] == kind for f in fields):
            kind = "int"
        field = {"name": name, "type": kind}
        first = kind[0] if isinstance(kind, list) else kind
        if isinstance(first, str) and draw(st.booleans()):
            field["default"] = DEFAULTS[first]
        if name != "a" and draw(st.integers(0, 9)) == 0:
            field["aliases"] = ["a"]
        fields.append(field)
    named = [f["type"]["name"] for f in fields if isinstance(f["type"], dict) and "name" in f["type"]]
    assume(len(named) == len(set(named)))
    return json.dumps({"type": "record", "name": "R", "fields": fields})


olds = st.lists(records(), max_size=3).map(
    lambda found: [StoredSchema(n, text) for n, text in enumerate(found, start=1)]
)


@given(records(), olds)
def test_full_is_backward_and_forward(new: str, known: list[StoredSchema]) -> None:
    for suffix in ("", "_TRANSITIVE"):
        both = [level_problems(Level(f"{way}{suffix}"), new, known) for way in ("BACKWARD", "FORWARD")]
        assert level_problems(Level(f"FULL{suffix}"), new, known) == both[0] + both[1]


@given(records(), olds)
def test_a_transitive_level_asks_every_version_and_the_plain_one_the_latest(
    new: str, known: list[StoredSchema]
) -> None:
    for name in ("BACKWARD", "FORWARD", "FULL"):
        transitive = level_problems(Level(f"{name}_TRANSITIVE"), new, known)
        each = [level_problems(Level(name), new, [old]) for old in known]
        assert (transitive == []) is all(found == [] for found in each)
        assert level_problems(Level(name), new, known) == (each[-1] if each else [])


@given(records(), records())
def test_forward_is_backward_seen_from_the_other_side(one: str, other: str) -> None:
    forward = level_problems(Level.FORWARD, one, [StoredSchema(1, other)])
    assert (forward == []) is (level_problems(Level.BACKWARD, other, [StoredSchema(1, one)]) == [])


@given(records(), olds)
def test_none_lets_everything_pass_and_every_level_the_same_again(new: str, known: list[StoredSchema]) -> None:
    assert level_problems(Level.NONE, new, known) == []
    for level in Level:
        assert level_problems(level, new, [StoredSchema(1, new)]) == []
        assert level_problems(level, new, []) == []


# Two of three pairs are incompatible and discarded: once in a few hundred runs too many of the first ones.
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(records(), records())
def test_what_backward_lets_pass_is_read_by_another_library(new: str, old: str) -> None:
    assume(backward_problems(new, old) == [])
    writer, reader = fastavro.parse_schema(json.loads(old)), fastavro.parse_schema(json.loads(new))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, writer, generate_one(writer))
    out.seek(0)
    try:
        read = fastavro.schemaless_reader(out, writer, reader)
    except UnicodeDecodeError:
        # Avro promotes bytes to a string; the writer must ensure that they are UTF-8.
        reject()
    assert isinstance(read, dict)
    assert set(read) == {field["name"] for field in json.loads(new)["fields"]}


def record(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": list(fields)})


ONE, LONG = record({"name": "a", "type": "int"}), record({"name": "a", "type": "long"})
OPTIONAL = record({"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0})
REQUIRED = record({"name": "a", "type": "int"}, {"name": "b", "type": "int"})
EMPTY = record()


@pytest.mark.parametrize(
    ("new", "old", "backward", "forward"),
    [
        (OPTIONAL, ONE, True, True),
        (ONE, OPTIONAL, True, True),
        (REQUIRED, ONE, False, True),
        (ONE, REQUIRED, True, False),
        (LONG, ONE, True, False),
        (ONE, LONG, False, True),
        (record({"name": "c", "type": "int"}), ONE, False, False),
    ],
    ids=["added with default", "optional removed", "added", "removed", "widened", "narrowed", "renamed"],
)
def test_what_each_level_says_of_a_change(new: str, old: str, backward: bool, forward: bool) -> None:
    said = {level: level_problems(level, new, [StoredSchema(3, old)]) == [] for level in Level}
    assert said == {
        Level.NONE: True,
        Level.BACKWARD: backward,
        Level.BACKWARD_TRANSITIVE: backward,
        Level.FORWARD: forward,
        Level.FORWARD_TRANSITIVE: forward,
        Level.FULL: backward and forward,
        Level.FULL_TRANSITIVE: backward and forward,
    }


def test_a_problem_names_the_version_and_the_direction() -> None:
    (backward,) = level_problems(Level.BACKWARD, REQUIRED, [StoredSchema(7, ONE)])
    assert backward.startswith("version 7: ")
    (forward,) = level_problems(Level.FORWARD, EMPTY, [StoredSchema(7, ONE)])
    assert forward.startswith("version 7 as reader: ")


def test_a_break_that_only_an_older_version_sees_needs_a_transitive_level() -> None:
    # b goes, and comes back as something else: the latest version has no b to disagree with.
    known = [StoredSchema(1, OPTIONAL), StoredSchema(2, ONE)]
    text_b = record({"name": "a", "type": "int"}, {"name": "b", "type": "string", "default": ""})
    assert level_problems(Level.BACKWARD, text_b, known) == []
    assert level_problems(Level.BACKWARD_TRANSITIVE, text_b, known) != []
