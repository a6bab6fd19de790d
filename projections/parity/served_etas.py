"""Served ETAs, recorded so that they can be recomputed: the port of the record, and its content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.features.calibration.adjustment import Calibration
from domain.features.eta.baseline import Baseline
from domain.features.eta.learned.model import LearnedEta
from projections.digest.digest import answer_digest
from read_models.city.snapshot import CitySnapshot
from read_models.eta.answer import NAME, eta_answer


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


class EtaVerdict(StrEnum):
    """The result of checking one answer; the values are stored and printed."""

    EQUAL = "equal"
    """The recomputed answer has the same bytes."""
    DIFFERENT = "different"
    """The recomputed answer has other bytes, or none could be computed."""
    OTHER_CODE = "other code"
    """Other code, another model or another machine's arithmetic made the answer, so it cannot be checked here."""
    LOG_RESTORED = "log restored"
    """The log does not have the events or the snapshot of the answer: it was restored to an older state since."""
    DETACHED = "detached"
    """The events that the answer depends on are in a part of the log that was detached."""
    UNDECIDED = "undecided"
    """The city snapshot that the answer names is not on record any more, or could not be decided itself."""


class LoggedEta(NamedTuple):
    """A recorded answer, with the log, the code and the machine that it came from, and its verdict, None if unchecked.

    ``fingerprint``: of the numeric library functions of the machine.
    """

    id: int
    log_id: UUID
    code_digest: str
    fingerprint: Mapping[str, str]
    verdict: EtaVerdict | None
    eta: ServedEta


class EtaTally(NamedTuple):
    """Counts of recorded answers. ``mismatches``: those of this code and of the generations that are read now."""

    checked: int
    unchecked: int
    mismatches: int


class ServedEtas(Protocol):
    """The recorded answers. Raises PortUnavailable."""

    def count(self, since_ms: int) -> int:
        """Answers at ``since_ms`` (epoch ms) or later."""
        ...

    def scan(self, since_ms: int, batch: int) -> Iterator[list[LoggedEta]]:
        """Those answers by city snapshot, at most ``batch`` at once, as of one instant."""
        ...

    def unchecked_of(self, snapshots: Sequence[int], limit: int) -> list[LoggedEta]:
        """At most ``limit`` answers without a verdict that name one of these city snapshots, or none at all."""
        ...

    def record(self, verdicts: Mapping[EtaVerdict, Sequence[int]]) -> None:
        """Record verdicts by the ids of their answers. A verdict that decides nothing never replaces another."""
        ...


DECIDED = (EtaVerdict.EQUAL, EtaVerdict.DIFFERENT)
"""The verdicts that compare bytes."""


def eta_code_digest() -> str:
    """32 hex digits over all code that computes an answer from the states, the city and the model's constants.

    The city, its calibration and the model are reached through protocols, so their classes are named here. Raises
    UntraceableDefinition.
    """
    code = (CitySnapshot.pace, Calibration.adjust, Baseline.predict, LearnedEta.predict)
    return answer_digest(NAME, eta_answer, *code)
