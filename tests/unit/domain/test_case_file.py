"""A case file: equal cases have equal bytes, the bytes give the case back, and other bytes are rejected by name."""

from __future__ import annotations

import json
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.case_file import (
    SPOOFING,
    CaseFile,
    CaseFix,
    Signal,
    UnreadableCaseFile,
    alert_id,
    case_bytes,
    case_of,
)
from domain.identifiers import NAMESPACE

floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
fixes = st.builds(
    CaseFix,
    texts,
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    floats,
    floats,
    st.none() | floats,
    st.none() | floats,
    st.none() | st.booleans(),
)
measured = st.lists(st.tuples(texts, st.none() | st.integers(-(2**60), 2**60) | floats | texts), max_size=4).map(tuple)
signals = st.builds(Signal, texts, measured, st.lists(texts, max_size=4).map(tuple))
cases = st.builds(
    CaseFile,
    texts,
    texts,
    st.sampled_from([SPOOFING, "completion"]),
    st.integers(1, 9),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.integers(0, 100),
    st.lists(signals, max_size=3).map(tuple),
    st.lists(fixes, max_size=3).map(tuple),
    st.none() | texts,
    st.none() | texts,
)

FIX = CaseFix("e1", 1_000, 1_500, 7, 53.0, -6.25, None, 0.1 + 0.2, None)
CASE = CaseFile(
    "a", "anna", SPOOFING, 1, 1_000, 7, 7, 60, (Signal("teleport", (("mps", 90.5),), ("e1",)),), (FIX,), None, None
)


@given(cases)
def test_a_case_survives_its_bytes(case: CaseFile) -> None:
    assert case_of(case_bytes(case)) == case


@given(cases)
def test_bytes_that_were_read_are_written_again_as_they_were(case: CaseFile) -> None:
    data = case_bytes(case)
    assert case_bytes(case_of(data)) == data


def test_the_bytes_are_canonical_json() -> None:
    data = case_bytes(CASE)
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert b'"speed_mps":0.30000000000000004' in data
    assert b'"measured":[["mps",90.5]]' in data


def test_equal_cases_have_equal_bytes_whatever_the_type_or_sign_of_a_number() -> None:
    same = FIX._replace(latitude=53, speed_mps=FIX.speed_mps)
    assert case_bytes(CASE._replace(window=(same,))) == case_bytes(CASE)
    positive, negative = (
        CASE._replace(signals=(Signal("drift", (("east_m", zero),), ()),), window=(FIX._replace(longitude=zero),))
        for zero in (0.0, -0.0)
    )
    assert positive == negative
    assert case_bytes(positive) == case_bytes(negative)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_an_error(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        case_bytes(CASE._replace(signals=(Signal("teleport", (("mps", number),), ()),)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"signals":[],"window":[]}',
        case_bytes(CASE)[:-1],
        case_bytes(CASE).replace(b'"latitude"', b'"northing"'),
    ],
)
def test_other_bytes_are_rejected_by_name(data: bytes) -> None:
    with pytest.raises(UnreadableCaseFile):
        case_of(data)


def test_an_alert_id_is_a_uuid_of_kind_rider_and_first_evidence() -> None:
    ids = [alert_id(*named) for named in (("spoofing", "anna", "e1"), ("completion", "anna", "e1"))]
    ids += [alert_id("spoofing", "ben", "e1"), alert_id("spoofing", "anna", "e2")]
    assert len(set(ids)) == 4
    assert ids[0] == str(uuid5(NAMESPACE, "alert/spoofing/anna/e1"))
    assert {UUID(each).version for each in ids} == {5}
    # Reviews on record name it: another value would detach them from their alert.
    assert ids[0] == "2c43ec92-265f-50c7-9d86-240b343b7a4b"
