"""Records served ETAs in a thread of its own, with the digest of the code and the machine's numeric fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from infrastructure.operations.served_read_log import ServedReadRecorder
from infrastructure.postgres.served_etas import add, trim
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.parity.served_etas import ServedEta, eta_code_digest


def eta_recorder(engine: Engine, share: float, keep: int) -> ServedReadRecorder[ServedEta]:
    """A recorder that writes to Postgres, and keeps trying: by default every answer is on record."""
    digest, fingerprint = eta_code_digest(), numeric_fingerprint()

    def write(etas: Sequence[ServedEta]) -> int:
        return add(engine, digest, fingerprint, etas)

    return ServedReadRecorder(share, write, lambda: trim(engine, keep), keeps_trying=True)
