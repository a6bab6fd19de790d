"""Says in words why an alert was raised and what would have cleared it, from the numbers of its case file.

Made at read, so that the file holds numbers and event ids only, and a better sentence changes no recorded case. Every
sentence names what was measured, with its unit, and can be shown to the rider.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from domain.features.case_file import SPOOFING, CaseFile, Signal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reason(NamedTuple):
    """Why a signal counts, and what would have cleared it, each as whole sentences."""

    signal: str
    why: str
    clears: str


def reasons(case: CaseFile) -> list[Reason]:
    """One reason a signal, in the order of the file."""
    return [_reason(case, signal) for signal in case.signals]


def rule_of(case: CaseFile) -> str:
    """What makes an alert of this kind, in one sentence or two."""
    if case.kind == SPOOFING:
        return "An alert needs two independent signals: if one of them is explained, the other alone raises none."
    return "A button that is pressed where the fixes exclude the rider raises an alert by itself."


def _reason(case: CaseFile, signal: Signal) -> Reason:
    when = _when(case, signal)
    found = _TEMPLATES.get(signal.name)
    if found is not None:
        try:
            return Reason(signal.name, _sentence(when, found.why.format_map(_values(case, signal))), found.clears)
        except KeyError:
            pass  # a file of another version of the fold has other numbers: they are shown as they are
    numbers = ", ".join(f"{name} {number(value)}" for name, value in signal.measured) or "no number"
    return Reason(signal.name, _sentence(when, f"the signal {signal.name} was measured: {numbers}."), _UNKNOWN)


def _sentence(when: str, text: str) -> str:
    return when + text if when else text[0].upper() + text[1:]


_UNKNOWN: Final = "This version of the program has no sentence for it. The version that is named in the file has."


def number(value: float | str | None) -> str:
    """A number for people: at most three decimals, commas between thousands."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def utc_text(t_ms: int) -> str:
    """An instant for people, to the second, in UTC."""
    return f"{_EPOCH + timedelta(milliseconds=t_ms):%Y-%m-%d %H:%M:%S} UTC"


def _when(case: CaseFile, signal: Signal) -> str:
    """The time of the evidence, as far as the window of the file has it; else nothing."""
    evidence = set(signal.evidence)
    times = [fix.event_timestamp_ms for fix in case.window if fix.event_id in evidence]
    if not times:
        return ""
    first, last = utc_text(min(times)), utc_text(max(times))
    return f"{first}: " if first == last else f"{first} to {last}: "


def _values(case: CaseFile, signal: Signal) -> dict[str, str]:
    """The measured numbers as texts, and those that a sentence derives from them."""
    measured: dict[str, Any] = dict(signal.measured)
    values = {name: number(value) for name, value in measured.items()} | {"case_order": f"{case.order_id}"}
    values["case_leg"] = f"{case.leg}"
    for name in ("after_start_seconds", "after_end_seconds"):
        if name in measured:
            seconds = measured[name]
            values[name] = f"{number(abs(seconds))} s {'before' if seconds < 0 else 'after'}"
    for name in ("at_least_mm", "nearest_mm", "nearest_accuracy_mm"):
        if name in measured:
            values[name] = "unknown" if measured[name] is None else f"{number(round(measured[name] / 1_000))} m"
    if "button_ms" in measured:
        values["button_ms"] = utc_text(measured["button_ms"])
    if signal.name == "teleport":
        values["blamed"] = _BEFORE if measured.get("blamed") == "before" else _AFTER.format_map(values)
    if signal.name == "implied_speed":
        values["claim"] = (_MOTION if measured.get("claims") == "motion" else _REST).format_map(values)
    if "offset_seconds" in measured:
        values["offset_hours"] = number(round(measured["offset_seconds"] / 3_600, 1))
    return values


_BEFORE: Final = "Another irregularity ended with this jump, so the fixes before it are the evidence."
_AFTER: Final = "The {fixes} fixes after the jump are the evidence."
_MOTION: Final = (
    "by the phone's own speed at least {device_least_m} m were ridden, but its positions moved along {way_m} m only"
)
_REST: Final = (
    "the positions moved {displacement_m} m, but by the phone's own speed at most {device_most_m} m were ridden"
)


class _Template(NamedTuple):
    """``why`` takes the values of a signal by their names."""

    why: str
    clears: str


_TEMPLATES: Final[dict[str, _Template]] = {
    "teleport": _Template(
        "within {seconds} s the position moved {distance_m} m. With the accuracies of both fixes taken off it is at "
        "least {lower_bound_m} m, so at least {lower_bound_mps} m/s; the limit is {limit_mps} m/s. {blamed}",
        "Fixes that say a worse accuracy, ten minutes or more without a fix between the two places, or fewer than "
        "three fixes at the second place make no such signal.",
    ),
    "frozen_position": _Template(
        "for {seconds} s, {fixes} fixes on end had the very same position, while by the phone's own speed at least "
        "{device_least_m} m were ridden. That speed changed {speed_changes} times.",
        "A phone that rests, or that repeats its last fix without reception, reports no speed or always the same one. "
        "One other position in between makes no such signal either.",
    ),
    "implied_speed": _Template(
        "for {seconds} s {claim}.",
        "Positions and speed that agree within a factor of two, fixes of a worse accuracy than 33 m, or a phone that "
        "often knows no speed make no such signal.",
    ),
    "constant_readings": _Template(
        "for {seconds} s, {fixes} fixes on end of a moving phone had exactly the same speed ({speed_mps} m/s) and the "
        "same accuracy.",
        "The readings of a receiver vary from fix to fix. One other speed or accuracy in between makes no such signal.",
    ),
    "regular_steps": _Template(
        "for {seconds} s, {steps} steps on end had the same length ({step_m} m), direction and duration, to a few "
        "centimetres.",
        "No receiver repeats a step to the centimetre. One other step in between makes no such signal.",
    ),
    "clock_shift": _Template(
        "for {seconds} s pings arrived, one by one, {lateness_seconds} s after the time that they state. Just before, "
        "they arrived {lateness_before_seconds} s after it: the phone's clock was set back by {shift_seconds} s.",
        "Pings that a phone held back while it was offline and then sent together, a clock that was wrong from the "
        "start, or ten minutes without a ping before the change make no such signal.",
    ),
    "repeated_track": _Template(
        "over {seconds} s, {repeated_fixes} fixes lie within about a metre of the rider's own track of {offset_hours} "
        "hours before ({offset_seconds} s). The times between them are the same as then, to {offset_differs_seconds} "
        "s.",
        "A second ride along the same street differs by more than a metre or by more than two seconds, and makes no "
        "such signal. Neither does a track of less than four hours before.",
    ),
    "jump_to_target": _Template(
        "a jump led from {from_target_before_m} m to {from_target_after_m} m from the target of the leg {leg} of order "
        "{order_id}, while that leg was open.",
        "A jump to any other place, one that began within 500 m of the target, or one while no leg to it was open "
        "makes no such signal.",
    ),
    "offset_at_assignment": _Template(
        "another irregularity ({family}) began {after_start_seconds} the leg {leg} of order {order_id} started, and "
        "ended {after_end_seconds} that leg ended. The leg lasted {leg_seconds} s.",
        "An irregularity that begins or ends at another time than the leg, by more than two minutes or a quarter of "
        "the leg, makes no such signal.",
    ),
    "mock_flag": _Template(
        "in {fixes} fixes on end the phone itself said that an app made the fix (Android's Location.isMock).",
        "Fixes without that flag. Fewer than three of them on end, as in a test of the phone, make no such signal.",
    ),
    "button_against_pings": _Template(
        "the end of the leg {case_leg} of order {case_order} was reported at {button_ms}. By {fixes} fixes around that "
        "time the rider was at least {at_least_mm} from the address. The nearest of them is {nearest_mm} from it, with "
        "an accuracy of {nearest_accuracy_mm}.",
        "A fix near the address around that time, or fixes whose accuracy reaches to it. The address itself may be "
        "wrong: what other riders did at the same place shows that.",
    ),
}
