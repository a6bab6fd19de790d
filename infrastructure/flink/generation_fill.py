"""Fills shards of a generation for as long as a rebuild fills it: a job may outlive its command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from infrastructure.process_pool import OnTick
from projections.core.ports import Sink
from projections.core.projection import Projection
from projections.core.retry import RetryPolicy
from projections.rebuild.generations import Generations

log = logging.getLogger("ridelog.flink")

Fill = Callable[[Sink, Mapping[int, int], OnTick], None]
"""Brings shards to their targets, and calls what it is given after each chunk."""


class NotFilled(Exception):
    """No rebuild fills the generation any more: its command was killed, and another one has ended or dropped it."""


class GenerationFill:
    """One subtask's part of a fill.

    A job whose command was killed may start after another rebuild has switched readers to the generation, or has
    dropped it. What it wrote to the first would not be published; what it wrote to the second, no list would show.
    """

    def __init__(
        self, generations: Generations, projection: Projection[Any], number: int, sink: Sink, retry: RetryPolicy
    ) -> None:
        self._generations = generations
        self._projection = projection
        self._number = number
        self._sink = sink
        self._retry = retry

    def run(self, fill: Fill, targets: Mapping[int, int]) -> bool:
        """Fill the shards of ``targets``. Returns False if no rebuild fills the generation any more.

        Raises the errors of ``fill``, and PortUnavailable.
        """
        try:
            self._retry.call(self._check)
            fill(self._sink, targets, self._check)
        except NotFilled as error:
            log.warning("%s", error)
            return False
        finally:
            self._retry.call(self._clear_if_dropped)
        return True

    def _check(self) -> None:
        """Raises NotFilled, PortUnavailable."""
        found = self._generations.all(self._projection.name)
        state = next((one.state for one in found if one.number == self._number), "dropped")
        if state != "filling":
            raise NotFilled(f"generation {self._number} of {self._projection.name} is {state}: it is not filled here")

    def _clear_if_dropped(self) -> None:
        # It was cleared while this subtask could still write.
        if self._generations.is_dropped(self._projection.name, self._number):
            self._sink.drop()
