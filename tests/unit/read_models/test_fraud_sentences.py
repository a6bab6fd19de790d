"""What is said about a case: every number with its unit, and nothing that the file does not have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from domain.features.case_file import COMPLETION, CaseFile, CaseFix, Signal
from domain.features.case_file import SPOOFING as OF_SPOOFING
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing.signals import FAMILY
from domain.gps_ping import parse_ping, record_of
from projections.spoofing import SPOOFING
from read_models.fraud.sentences import number, reasons, rule_of, utc_text
from tests.support.worlds.forged import forged_track

T_MS = 1_790_000_000_000
FIRST, SECOND = "0b7e9d1c-3f6a-4f0e-8f65-000000000001", "0b7e9d1c-3f6a-4f0e-8f65-000000000002"

MEASURED: dict[str, dict[str, Any]] = {
    "teleport": {
        "distance_m": 4_231,
        "lower_bound_m": 4_201,
        "seconds": 5.0,
        "lower_bound_mps": 840.2,
        "limit_mps": 70,
        "fixes": 3,
        "blamed": "after",
    },
    "frozen_position": {"fixes": 7, "seconds": 31.5, "device_least_m": 140, "speed_changes": 5},
    "implied_speed": {
        "claims": "motion",
        "seconds": 112.0,
        "way_m": 3,
        "displacement_m": 2,
        "device_least_m": 560,
        "device_most_m": 640,
    },
    "constant_readings": {"fixes": 21, "seconds": 20.0, "speed_mps": 5.25},
    "regular_steps": {"steps": 20, "seconds": 40.0, "step_m": 8.33},
    "clock_shift": {
        "shift_seconds": 899.5,
        "lateness_before_seconds": 0.5,
        "lateness_seconds": 900.0,
        "seconds": 75.0,
    },
    "repeated_track": {"repeated_fixes": 4, "offset_seconds": 86_400, "offset_differs_seconds": 1, "seconds": 600.0},
    "jump_to_target": {
        "order_id": "order-7",
        "leg": "to_restaurant",
        "from_target_before_m": 3_100,
        "from_target_after_m": 12,
    },
    "offset_at_assignment": {
        "order_id": "order-7",
        "leg": "to_restaurant",
        "family": "jump",
        "after_start_seconds": 4.0,
        "after_end_seconds": -11.0,
        "leg_seconds": 601.0,
    },
    "mock_flag": {"fixes": 3},
    "button_against_pings": {
        "at_least_mm": 1_980_400,
        "nearest_mm": 2_001_900,
        "nearest_accuracy_mm": None,
        "button_ms": T_MS + 1_000,
        "started_ms": T_MS,
        "fixes": 9,
    },
}


def a_fix(event_id: str, t_ms: int) -> CaseFix:
    return CaseFix(event_id, t_ms, t_ms + 50, 7, 52.5, 13.4, 5.0, None, None)


def a_case(name: str, evidence: tuple[str, ...] = (FIRST, SECOND), **changes: Any) -> CaseFile:
    measured = tuple((MEASURED.get(name, {}) | changes).items())
    kind = COMPLETION if name == "button_against_pings" else OF_SPOOFING
    window = (a_fix(FIRST, T_MS), a_fix(SECOND, T_MS + 5_000))
    signals = (Signal(name, measured, evidence),)
    return CaseFile("a", "anna", kind, 1, T_MS, 7, 8, 60, signals, window, "order-7", "to_customer")


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_every_signal_has_a_sentence_with_its_numbers_and_what_would_have_cleared_it(name: str) -> None:
    (reason,) = reasons(a_case(name))
    assert reason.signal == name
    assert reason.why.startswith("2026-09-21 14:13:20 UTC to 2026-09-21 14:13:25 UTC: ")
    assert reason.why.endswith((".", ")."))
    assert reason.clears.endswith(".")
    assert "{" not in reason.why + reason.clears
    assert "None" not in reason.why
    for measured, value in MEASURED[name].items():
        if measured.endswith(("_mm", "_ms")) or measured in {"blamed", "claims"} or name == "implied_speed":
            continue
        shown = number(abs(value)) if isinstance(value, int | float) else value
        assert re.search(rf"(?<![\d.,]){re.escape(str(shown))}(?![\d])", reason.why), (measured, reason.why)


def test_a_teleport_says_its_bound_and_which_fixes_are_to_blame() -> None:
    (after,) = reasons(a_case("teleport"))
    assert "at least 4,201 m, so at least 840.2 m/s; the limit is 70 m/s." in after.why
    assert after.why.endswith("The 3 fixes after the jump are the evidence.")
    (before,) = reasons(a_case("teleport", blamed="before"))
    assert before.why.endswith("so the fixes before it are the evidence.")


def test_an_implied_speed_says_which_of_the_two_claims_motion() -> None:
    (moving,) = reasons(a_case("implied_speed"))
    assert "at least 560 m were ridden, but its positions moved along 3 m only." in moving.why
    (resting,) = reasons(a_case("implied_speed", claims="rest", displacement_m=900, device_most_m=0))
    assert "the positions moved 900 m, but by the phone's own speed at most 0 m were ridden." in resting.why


def test_an_offset_says_before_and_after() -> None:
    (reason,) = reasons(a_case("offset_at_assignment"))
    assert "began 4 s after the leg to_restaurant of order order-7 started" in reason.why
    assert "ended 11 s before that leg ended" in reason.why


def test_a_button_says_metres_and_an_unknown_accuracy() -> None:
    (reason,) = reasons(a_case("button_against_pings"))
    assert "the end of the leg to_customer of order order-7 was reported at 2026-09-21 14:13:21 UTC" in reason.why
    assert "at least 1,980 m from the address" in reason.why
    assert reason.why.endswith("The nearest of them is 2,002 m from it, with an accuracy of unknown.")


def test_evidence_that_the_window_no_longer_has_gives_no_time() -> None:
    (reason,) = reasons(a_case("mock_flag", evidence=("other",)))
    assert reason.why.startswith("In 3 fixes on end")


def test_one_fix_of_evidence_gives_one_time() -> None:
    (reason,) = reasons(a_case("mock_flag", evidence=(SECOND,)))
    assert reason.why.startswith("2026-09-21 14:13:25 UTC: in 3 fixes")


def test_a_signal_of_another_version_shows_its_numbers_as_they_are() -> None:
    (unknown,) = reasons(a_case("slow_drift", metres_per_hour=1_234.5, of=None))
    assert unknown.why.endswith("the signal slow_drift was measured: metres_per_hour 1,234.5, of unknown.")
    short = a_case("clock_shift")._replace(signals=(Signal("clock_shift", (("shift_s", 9),), ()),))
    assert reasons(short)[0].why == "The signal clock_shift was measured: shift_s 9."


def test_text_from_outside_is_shown_and_never_taken_for_a_template() -> None:
    (reason,) = reasons(a_case("jump_to_target", order_id="{leg}{0.__class__}"))
    assert "of order {leg}{0.__class__}," in reason.why


def test_the_rule_of_each_kind() -> None:
    assert "two independent signals" in rule_of(a_case("teleport"))
    assert "by itself" in rule_of(a_case("button_against_pings"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1_234_567, "1,234,567"),
        (1.0, "1"),
        (0.5, "0.5"),
        (-3.25, "-3.25"),
        (1e9, "1,000,000,000"),
        ("a", "a"),
    ],
)
def test_numbers_for_people(value: float, shown: str) -> None:
    assert number(value) == shown


def test_times_for_people() -> None:
    assert utc_text(0) == "1970-01-01 00:00:00 UTC"
    assert utc_text(T_MS + 999) == "2026-09-21 14:13:20 UTC"


def test_every_signal_that_the_fold_can_raise_has_its_own_sentence() -> None:
    assert set(FAMILY) <= set(MEASURED)


def test_the_sentences_know_the_numbers_that_the_fold_measures() -> None:
    state, case = SPOOFING.initial, None
    for version, item in enumerate(forged_track("anna", T_MS), start=2):
        record = record_of(parse_ping(item, T_MS + 300_000))
        state = SPOOFING.fold(state, KeyedEvent("anna", version, version, "GpsPing", record))
        case = state.alert or case
    assert case is not None
    found = {reason.signal: reason.why for reason in reasons(case)}
    assert {"teleport", "mock_flag"} <= set(found)
    assert not [why for why in found.values() if "was measured:" in why]
