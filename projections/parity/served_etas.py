"""Served ETAs, recorded so that they can be recomputed: the port of the record, and its content."""

from __future__ import annotations

from typing import NamedTuple


class EtaPlace(NamedTuple):
    """Which state of a read model an answer used: the generation, and version and position of its last event."""

    generation: int
    version: int
    position: int


class ServedEta(NamedTuple):
    """One answer, and everything that it depends on besides the events.

    ``rider``: None without one, or if nothing of the rider was folded. ``city_snapshot`` and ``city_digest``: the
    snapshot of the process, None before the first. ``at_ms``: the one clock reading of the request, epoch ms.
    """

    order_id: str
    order: EtaPlace
    rider_id: str | None
    rider: EtaPlace | None
    city_snapshot: int | None
    city_digest: str | None
    model_digest: str
    at_ms: int
    body: bytes

    @property
    def key(self) -> str:
        """The order's id."""
        return self.order_id

    @property
    def is_missing(self) -> bool:
        """False: an answer that an order is not known has no estimate, and is not recorded."""
        return False
