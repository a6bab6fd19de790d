"""How long a worker lets records come together before it asks for more. Pure."""

from __future__ import annotations

ENOUGH = 1_000
"""Records of a batch above which its fixed costs (a fence a shard, a transaction) are small beside the rest."""
SHARE = 3.0
LONGEST_S = 0.1


def pause_s(records: int, took_s: float) -> float:
    """Seconds to wait after a batch of ``records`` that was worked at for ``took_s`` seconds.

    A batch of 50 costs more than twice as much a record as one of 1,000 (benchmarks/batch_size.py), so a worker that
    takes whatever is there keeps a machine busy at a load that is half of what it could bear. Of one ping alone the
    batch is done in milliseconds, and so is the pause; whoever is behind finds full batches, and does not pause.
    """
    return min(LONGEST_S, SHARE * took_s) if 0 < records < ENOUGH else 0.0
