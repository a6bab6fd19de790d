"""A case file: the numbers and event ids on which an alert about a rider rests, as one canonical byte string.

It holds no sentence and no verdict. Sentences are made from it at read. Reviews are events of their own.
"""

from __future__ import annotations

import json
from hashlib import sha1
from typing import Any, NamedTuple

SPOOFING = "spoofing"
COMPLETION = "completion"
KINDS = (SPOOFING, COMPLETION)

MAX_WINDOW_FIXES = 32
MAX_EVIDENCE_IDS = 32
"""Bounds of a file (invariant 15): a rider who forges all day would make a file without end otherwise."""

OPEN_MS = 1_800_000
"""An alert is open this long after its latest signal, in event time. A signal within it extends the alert. Without
this, one forged hour would make hundreds of alerts for one reviewer."""


_NAMESPACE = bytes.fromhex("8a1fb4e46f0d5f0e9a533d1c2d1f7b10")
"""That of all ids of this project (``domain.identifiers``). A fold may not import uuid, which reads clocks."""


class UnreadableCaseFile(Exception):
    """The bytes are no case file of this format."""


class CaseFix(NamedTuple):
    """One ping of the window, as it was recorded. Times in epoch ms, WGS84 degrees; None = the client did not say."""

    event_id: str
    event_timestamp_ms: int
    received_timestamp_ms: int
    position: int
    latitude: float
    longitude: float
    accuracy_meters: float | None
    speed_mps: float | None
    is_mock: bool | None


class Signal(NamedTuple):
    """One named finding. ``measured``: its numbers by name; ``evidence``: the event ids that prove it, in order.

    A name has one type: equal values of two types would be equal cases with unequal bytes.
    """

    name: str
    measured: tuple[tuple[str, int | float | str | None], ...]
    evidence: tuple[str, ...]


class CaseFile(NamedTuple):
    """What is known of one alert. A later file of the same ``alert_id`` replaces it as the case grows.

    ``raised_at_ms`` is the effective time of the event that raised the alert, in epoch ms. ``raised_position`` and
    ``position`` are those of that event and of the last one that changed the file. ``score`` is 0 to 100.
    """

    alert_id: str
    rider_id: str
    kind: str
    fold_version: int
    raised_at_ms: int
    raised_position: int
    position: int
    score: int
    signals: tuple[Signal, ...]
    window: tuple[CaseFix, ...]
    order_id: str | None
    leg: str | None


def alert_id(kind: str, rider_id: str, first_evidence: str) -> str:
    """The id of an alert, from the event id that is the first evidence of it: the same in every replay."""
    name = f"alert/{kind}/{rider_id}/{first_evidence}".encode()
    # RFC 9562: the first 16 bytes of the SHA-1, with the version 5 and the variant in their bits.
    number = int.from_bytes(sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16], "big")
    return uuid_text((number & ~(0xF << 76 | 0x3 << 62) | 5 << 76 | 1 << 63).to_bytes(16, "big"))


def uuid_text(data: bytes) -> str:
    """The text of a UUID's 16 bytes."""
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def case_bytes(case: CaseFile) -> bytes:
    """Canonical JSON: sorted keys, no blanks, floats by repr, UTF-8. Equal cases give equal bytes.

    Raises ValueError for a number that JSON does not have (NaN, infinity).
    """
    content = case._asdict()
    content["signals"] = [_signal_content(signal) for signal in case.signals]
    content["window"] = [_fix_content(fix) for fix in case.window]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def case_of(data: bytes) -> CaseFile:
    """Inverse of ``case_bytes``. Raises UnreadableCaseFile."""
    try:
        content = json.loads(data)
        content["signals"] = tuple([_signal_of(signal) for signal in content["signals"]])
        content["window"] = tuple([CaseFix(**fix) for fix in content["window"]])
        return CaseFile(**content)
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableCaseFile(f"{len(data)} bytes that are no case file: {error}") from error


def _signal_content(signal: Signal) -> dict[str, Any]:
    # Pairs, not an object: the order of the numbers is part of the signal.
    measured = [[name, _plain(value)] for name, value in signal.measured]
    return {"name": signal.name, "measured": measured, "evidence": list(signal.evidence)}


def _signal_of(content: dict[str, Any]) -> Signal:
    measured = tuple([(str(name), value) for name, value in content["measured"]])
    return Signal(content["name"], measured, tuple(content["evidence"]))


def _fix_content(fix: CaseFix) -> dict[str, Any]:
    content = fix._asdict()
    for name in ("latitude", "longitude", "accuracy_meters", "speed_mps"):
        if content[name] is not None:
            content[name] = float(content[name]) + 0.0
    return content


def _plain(value: int | float | str | None) -> int | float | str | None:
    # Adding 0.0 turns -0.0 into 0.0: the two are equal, and equal cases must have equal bytes.
    return value + 0.0 if isinstance(value, float) else value
