"""The five rules of docs/schemas.md for our contracts, on random flat records; and that the page names these tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.events.contracts import Contract
from infrastructure.schema_registry.compatibility import Level, StoredSchema, level_problems
from infrastructure.schema_registry.release_check import check_releases, contract_problems

Field = dict[str, Any]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "schemas.md"
DEFAULTS: dict[str, Any] = {"int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": "", "boolean": False}

names = st.sampled_from("abcdef")
kinds = st.sampled_from(sorted(DEFAULTS))


@st.composite
def fields(draw: st.DrawFn) -> Field:
    kind = draw(kinds)
    return {"name": draw(names), "type": kind} | ({"default": DEFAULTS[kind]} if draw(st.booleans()) else {})


contract_fields = st.lists(fields(), min_size=1, max_size=4, unique_by=lambda field: str(field["name"]))


def contract(of: Sequence[Field]) -> str:
    return json.dumps({"type": "record", "name": "R", "namespace": "com.delivery.events", "fields": list(of)})


def says(new: Sequence[Field], old: Sequence[Field]) -> str:
    return "; ".join(contract_problems(contract(new), contract(old)))


@given(contract_fields, kinds, st.integers(0, 4))
def test_rule_1_a_field_may_be_added_with_a_default(old: list[Field], kind: str, place: int) -> None:
    new = [*old[:place], {"name": "new", "type": kind, "default": DEFAULTS[kind]}, *old[place:]]
    assert says(new, old) == ""
    # What our rules let pass is compatible in both directions.
    assert level_problems(Level.FULL, contract(new), [StoredSchema(1, contract(old))]) == []


@given(contract_fields, st.data())
def test_rule_2_an_optional_field_may_be_removed(old: list[Field], data: st.DataObject) -> None:
    optional = [field for field in old if "default" in field]
    assume(optional)
    gone = data.draw(st.sampled_from(optional))
    new = [field for field in old if field is not gone]
    assert says(new, old) == ""
    assert level_problems(Level.FULL, contract(new), [StoredSchema(1, contract(old))]) == []


@given(contract_fields, st.data(), st.booleans(), st.booleans())
def test_rule_3_a_field_may_not_be_renamed(old: list[Field], data: st.DataObject, alias: bool, default: bool) -> None:
    field = data.draw(st.sampled_from(old))
    renamed = {**field, "name": "new"} | ({"aliases": [field["name"]]} if alias else {})
    renamed |= {"default": DEFAULTS[field["type"]]} if default else {}
    assert "renamed" in says([renamed if one is field else one for one in old], old)


@given(contract_fields, st.data(), kinds)
def test_rule_4_a_field_may_not_change_its_type(old: list[Field], data: st.DataObject, kind: str) -> None:
    field = data.draw(st.sampled_from(old))
    assume(kind != field["type"])
    changed = {**field, "type": kind} | ({"default": DEFAULTS[kind]} if "default" in field else {})
    assert "changes its type" in says([changed if one is field else one for one in old], old)


@given(contract_fields, kinds)
def test_rule_5_a_field_may_not_be_added_without_a_default(old: list[Field], kind: str) -> None:
    assert "new" in says([*old, {"name": "new", "type": kind}], old)


def test_the_page_names_these_rules() -> None:
    rules = [name for name in globals() if name.startswith("test_rule_")]
    assert len(rules) == 5
    assert [rule for rule in rules if f"`{rule}`" not in PAGE.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("fields_of_2", "broken"),
    [([{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0}], False), ([], True)],
)
def test_the_check_compares_each_version_with_the_one_before(fields_of_2: list[Field], broken: bool) -> None:
    first = Contract("R", 1, json.loads(contract([{"name": "a", "type": "int"}])))
    second = Contract("R", 2, json.loads(contract(fields_of_2)))
    found = list(check_releases([first, second]))
    assert [(one.contract, one.against) for one in found] == [("R 1", "nothing"), ("R 2", "R 1")]
    assert [bool(one.problems) for one in found] == [False, broken]
