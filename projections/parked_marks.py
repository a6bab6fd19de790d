"""The mark of a parked key as text, the same in every store."""

from __future__ import annotations

import json

from projections.ports import Parked


def encode_mark(parked: Parked) -> str:
    return json.dumps(parked._asdict(), separators=(",", ":"))


def decode_mark(text: str | bytes) -> Parked:
    return Parked(**json.loads(text))
