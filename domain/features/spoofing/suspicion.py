"""The case of a rider as it grows: signals within 30 minutes of each other; two families of them raise an alert."""

from __future__ import annotations

from collections.abc import Sequence

from domain.features.case_file import (
    MAX_EVIDENCE_IDS,
    MAX_WINDOW_FIXES,
    SPOOFING,
    CaseFile,
    CaseFix,
    Signal,
    alert_id,
)
from domain.features.event_time import effective_time_ms
from domain.features.spoofing.signals import (
    CLOCK_SHIFT,
    FOLD_VERSION,
    MIN_FAMILIES,
    Finding,
    families,
    score,
)

MAX_SIGNALS_OF_NAME = 3
"""A fourth signal of a name replaces the third (invariant 15). The first stays: the alert's id is made of it."""


def signal_of(finding: Finding, window: Sequence[CaseFix], current: str) -> Signal:
    """The signal of a finding. Its evidence are the pings of the window in its time, else the ``current`` ping."""
    evidence = finding.evidence or tuple(
        [fix.event_id for fix in window if finding.start_ms <= _time_of(fix, finding.name) <= finding.end_ms]
    )
    return Signal(finding.name, finding.measured, (evidence or (current,))[-MAX_EVIDENCE_IDS:])


def _time_of(fix: CaseFix, name: str) -> int:
    # A shift of the clock is timed by receptions: the times that the phone sent are what is in doubt.
    return fix.received_timestamp_ms if name == CLOCK_SHIFT else effective_time_ms(fix._asdict())


def new_case(rider_id: str, signal: Signal, window: Sequence[CaseFix], position: int) -> CaseFile:
    """A case of one signal, which is no alert yet."""
    first = alert_id(SPOOFING, rider_id, signal.evidence[0])
    empty = CaseFile(first, rider_id, SPOOFING, FOLD_VERSION, 0, 0, position, 0, (), (), None, None)
    return with_signal(empty, signal, window, position)


def with_signal(case: CaseFile, signal: Signal, window: Sequence[CaseFix], position: int) -> CaseFile:
    """The case with one more signal. A signal with the first evidence of one of its name is that one, grown."""
    of_name = [at for at, one in enumerate(case.signals) if one.name == signal.name]
    grown = next((at for at in of_name if case.signals[at].evidence[0] == signal.evidence[0]), None)
    if grown is None and len(of_name) >= MAX_SIGNALS_OF_NAME:
        grown = of_name[-1]
    signals = list(case.signals)
    if grown is None:
        signals.append(signal)
    else:
        signals[grown] = signal
    measured = dict(signal.measured)
    order_id, leg = measured.get("order_id"), measured.get("leg")
    return case._replace(
        position=position,
        score=score(one.name for one in signals),
        signals=tuple(signals),
        window=_window(case, signals, window),
        order_id=case.order_id if order_id is None else str(order_id),
        leg=case.leg if leg is None else str(leg),
    )


def is_alert(case: CaseFile) -> bool:
    return len(families(one.name for one in case.signals)) >= MIN_FAMILIES


def _window(case: CaseFile, signals: Sequence[Signal], window: Sequence[CaseFix]) -> tuple[CaseFix, ...]:
    """The pings to show: half of the room for evidence that the window no longer has, the rest for the latest pings."""
    evidence = {event_id for signal in signals for event_id in signal.evidence}
    present = {fix.event_id for fix in window}
    earlier = [fix for fix in case.window if fix.event_id in evidence and fix.event_id not in present]
    kept = earlier[: MAX_WINDOW_FIXES // 2]
    return (*kept, *window[-(MAX_WINDOW_FIXES - len(kept)) :])
