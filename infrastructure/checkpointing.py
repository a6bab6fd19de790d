"""A sink that hands on the checkpoints which lie on the way of what it applies."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from infrastructure.passing_sink import PassingSink
from projections.checkpoints import Checkpoints
from projections.ports import PortUnavailable, Refused, ShardWrite, Sink

log = logging.getLogger("ridelog.projections")


class CheckpointingSink(PassingSink):
    """``projections.ports.Sink`` around another one. Only what has won its compare-and-set is kept.

    What dies between the two leaves a checkpoint out, which whoever replays across it makes up for. So does a store of
    checkpoints that is away: it must not hold up serving, whose own store is well.
    """

    def __init__(self, sink: Sink, checkpoints: Checkpoints) -> None:
        super().__init__(sink)
        self._checkpoints = checkpoints

    def beside(self) -> Sink:
        """What is refolded is folded from the log as well, and its checkpoints are kept by the same rule."""
        return CheckpointingSink(self._sink.beside(), self._checkpoints)

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        done = super().apply(writes)
        made = [one for write, won in zip(writes, done, strict=True) if won for one in write.checkpoints]
        if made:
            try:
                self._checkpoints.keep(made, verified=False)
            except (PortUnavailable, Refused) as error:
                log.warning("%d checkpoints are left out, a replay will make up for them: %s", len(made), error)
        return done
