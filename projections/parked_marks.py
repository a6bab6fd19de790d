"""The mark of a parked key as text, the same in every store."""

from __future__ import annotations

import json

from projections.ports import Parked, Refused

MAX_ERROR_CHARS = 200


def encode_mark(parked: Parked) -> str:
    return json.dumps(parked._asdict(), separators=(",", ":"))


def decode_mark(text: str | bytes) -> Parked:
    """Raises Refused for a text that is no mark: one damaged mark must not end the process of all projections."""
    try:
        return Parked(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise Refused(f"the stored mark of a parked key cannot be read: {str(error)[:MAX_ERROR_CHARS]}") from error
