"""How long a worker lets records come together before it asks for more. Pure."""

from __future__ import annotations

from typing import NamedTuple

SHARE = 3.0


class Pace(NamedTuple):
    """``enough``: records of a batch above which its fixed costs (a fence a shard, a transaction) are small.

    ``longest_s``: seconds that may be waited for more; ``at_most``: records of one batch. ``gathers``: what has come
    to the broker meanwhile is fetched before the batch is begun, not only what the client has already.
    """

    enough: int
    longest_s: float
    at_most: int
    gathers: bool


EAGER = Pace(enough=1_000, longest_s=0.1, at_most=5_000, gathers=False)
"""Somebody waits for the answer."""
PATIENT = Pace(enough=20_000, longest_s=2.0, at_most=20_000, gathers=True)
"""Of 20,000 records many are of one key, whose state and rows are written once: half the cost of 5,000 each."""


def pause_s(pace: Pace, records: int, took_s: float) -> float:
    """Seconds to wait after a batch of ``records`` that was worked at for ``took_s`` seconds.

    A batch of 50 costs more than twice as much a record as one of 1,000 (benchmarks/batch_size.py), so a worker that
    takes whatever is there keeps a machine busy at a load that is half of what it could bear. Of one ping alone the
    batch is done in milliseconds, and so is the pause; whoever is behind finds full batches, and does not pause.
    """
    return min(pace.longest_s, SHARE * took_s) if 0 < records < pace.enough else 0.0
