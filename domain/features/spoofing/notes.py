"""What is done with the notes of one event: anomalies, their coincidence with legs, and the case. Rarely run."""

from __future__ import annotations

from collections.abc import Sequence

from domain.features.case_file import OPEN_MS, CaseFix, case_bytes, case_of
from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing import assignment, suspicion
from domain.features.spoofing.assignment import Anomaly
from domain.features.spoofing.fixes import window_of
from domain.features.spoofing.signals import TELEPORT, Finding
from domain.features.spoofing.state import Note, SpoofingState

BLAME_MS = 180_000
"""A jump within three minutes after another anomaly is the end of that one: the return is honest, and the fixes before
it are the evidence."""

BLAMED_FIXES = 8
ANOMALY_IDS = 8


def noted(state: SpoofingState, event: KeyedEvent, notes: Sequence[Note], t_ms: int) -> SpoofingState:
    """The state after the notes of ``event``, whose effective time is ``t_ms``; its fixes are in the state already."""
    if not state.anomalies and all(note.finding is None for note in notes):
        return state  # nothing was open that could be over: so it is at most stretches of an honest phone
    window = window_of(state.window)
    legs = assignment.legs_of(state.legs)
    anomalies = assignment.anomalies_of(state.anomalies)
    findings: list[Finding] = []
    for finding, family, over_ms in notes:
        if finding is not None:
            named = _blamed(finding, anomalies, window)
            findings.append(named)
            if family is not None:
                ids = suspicion.signal_of(named, window, event.data["event_id"]).evidence[:ANOMALY_IDS]
                began = Anomaly(family, finding.start_ms, finding.end_ms, False, ids)
                anomalies = assignment.with_anomaly(anomalies, began)
            if finding.name == TELEPORT and state.branch is not None:
                landed = assignment.to_target(legs, state.branch.anchor, state.branch.first)
                findings += [] if landed is None else [landed]
        if family is not None and over_ms is not None:
            anomalies = assignment.with_end(anomalies, family, over_ms)
    anomalies, coincidences = assignment.at_assignment(legs, anomalies)
    state = state._replace(anomalies=assignment.packed(anomalies))
    return _with_findings(state, event, [*findings, *coincidences], window, t_ms)


def _blamed(finding: Finding, anomalies: Sequence[Anomaly], window: Sequence[CaseFix]) -> Finding:
    """A teleport with what is to blame for it: the fixes after the jump, unless another anomaly ends with it."""
    if finding.name != TELEPORT:
        return finding
    is_return = any(one.family != "jump" and one.end_ms >= finding.start_ms - BLAME_MS for one in anomalies)
    measured = (*finding.measured, ("blamed", "before" if is_return else "after"))
    if not is_return:
        return finding._replace(measured=measured)
    before = [fix.event_id for fix in window if effective_time_ms(fix._asdict()) < finding.start_ms]
    return finding._replace(measured=measured, evidence=tuple(before[-BLAMED_FIXES:]))


def _with_findings(
    state: SpoofingState, event: KeyedEvent, findings: Sequence[Finding], window: Sequence[CaseFix], t_ms: int
) -> SpoofingState:
    """The state after the signals of one event; ``alert`` is set if they raised one, or changed one that was raised."""
    if not findings:
        return state
    case = case_of(state.case) if state.case and t_ms <= state.case_ms + OPEN_MS else None
    for finding in findings:
        signal = suspicion.signal_of(finding, window, event.data["event_id"])
        if case is None:
            case = suspicion.new_case(event.key, signal, window, event.position)
        else:
            case = suspicion.with_signal(case, signal, window, event.position)
    assert case is not None
    if not case.raised_position and suspicion.is_alert(case):
        leg = assignment.open_leg(assignment.legs_of(state.legs)) if case.order_id is None else None
        case = case._replace(
            raised_at_ms=t_ms,
            raised_position=event.position,
            order_id=case.order_id if leg is None else leg.order_id,
            leg=case.leg if leg is None else leg.leg,
        )
    case_ms = max([state.case_ms if state.case else 0, t_ms])
    return state._replace(case=case_bytes(case), case_ms=case_ms, alert=case if case.raised_position else None)
