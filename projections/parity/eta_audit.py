"""Checks that every served ETA is what the log gives: features, quantiles and bytes (invariants 8 and 17).

The order and its rider are folded from the events alone. The city is the audit's own merge of the events up to the
vector of the snapshot that the answer names, and counts only if its digest is the recorded one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from domain.features.eta.baseline import EtaModel
from domain.features.orders import OrderState
from domain.features.speed.window import SpeedState
from projections.orders import ORDERS
from projections.parity.city_audit import CityVerdict
from projections.parity.key_states import KeyStates, StateAt
from projections.parity.key_walk import WalkBudget
from projections.parity.served_etas import EtaPlace, EtaVerdict, LoggedEta
from projections.speed import SPEED
from read_models.city.content import CityContent
from read_models.city.snapshot import CitySnapshot
from read_models.eta.answer import eta_answer
from read_models.view import body_of

S = TypeVar("S")


class AuditedCity(NamedTuple):
    """What the audit of the city found of one snapshot: ``content`` is the merge of the log, if there is one."""

    digest: str
    """As recorded with the snapshot."""
    verdict: CityVerdict
    content: CityContent | None = None
    why: str = ""


CityOf = Callable[[int], AuditedCity | None]
"""The snapshot with a number; None if it is not on record any more. Asked in ascending order, once a batch."""


class EtaCode(NamedTuple):
    """What this process computes with. Answers of other code cannot be checked by it."""

    digest: str
    fingerprint: Mapping[str, str]
    model_of: Callable[[str], EtaModel | None]
    """The model with a digest; None if this code has none."""
    folds: Callable[[str, int], bool]
    """Whether this code's fold made a generation of a projection."""


class CheckedEta(NamedTuple):
    """An answer and its verdict. For DIFFERENT: the ``recomputed`` body, or ``why`` none could be computed."""

    logged: LoggedEta
    verdict: EtaVerdict
    recomputed: bytes = b""
    why: str = ""


_OF_CITY = {
    CityVerdict.DIFFERENT: EtaVerdict.DIFFERENT,
    CityVerdict.OTHER_CODE: EtaVerdict.OTHER_CODE,
    CityVerdict.LOG_RESTORED: EtaVerdict.LOG_RESTORED,
    CityVerdict.DETACHED: EtaVerdict.DETACHED,
    CityVerdict.UNDECIDED: EtaVerdict.UNDECIDED,
}
"""The verdict on the answers that name a snapshot whose content the log does not give."""


class EtaAudit:
    """Checks recorded answers, a batch at once. ``log_id`` returns the id of the log."""

    def __init__(self, orders: KeyStates[OrderState], riders: KeyStates[SpeedState], code: EtaCode) -> None:
        self._orders = orders
        self._riders = riders
        self._code = code

    @property
    def events(self) -> int:
        """Events of orders and riders folded so far."""
        return self._orders.events + self._riders.events

    def forget(self) -> None:
        """Forget what was folded: the log is another one."""
        self._orders.forget()
        self._riders.forget()

    def check(
        self, etas: Sequence[LoggedEta], log_id: object, city_of: CityOf, budget: WalkBudget | None = None
    ) -> Iterator[CheckedEta]:
        """Check one batch, which is in memory. Answers that the budget does not reach are left out.

        Raises PortUnavailable, and what ``decode`` raises while the schema registry is unavailable.
        """
        budget = budget or WalkBudget()
        ours: list[LoggedEta] = []
        for logged in etas:
            foreign = self._foreign(logged, log_id)
            if foreign is None:
                ours.append(logged)
            else:
                yield foreign
        orders = _states_of(self._orders, [(one.eta.order_id, one.eta.order) for one in ours], budget)
        rides = [(one.eta.rider_id, one.eta.rider) for one in ours]
        riders = _states_of(
            self._riders, [(key, place) for key, place in rides if key is not None and place is not None], budget
        )
        city: AuditedCity | None = None
        snapshot: CitySnapshot | None = None
        number: int | None = None
        for logged in sorted(ours, key=lambda one: (one.eta.city_snapshot or 0, one.id)):
            eta = logged.eta
            order = orders.get((eta.order_id, eta.order))
            rider: StateAt[SpeedState] | None = StateAt(None)
            if eta.rider_id is not None and eta.rider is not None:
                rider = riders.get((eta.rider_id, eta.rider))
            if order is None or rider is None:
                continue
            if eta.city_snapshot is not None and eta.city_snapshot != number:
                number = eta.city_snapshot
                city = city_of(number)
                content = None if city is None else city.content
                snapshot = None if city is None or content is None else CitySnapshot(number, city.digest, content)
            missing = self._without_city(logged, city) or _of_states(logged, order, rider)
            yield missing or self._compared(logged, order, rider, None if eta.city_snapshot is None else snapshot)

    def _foreign(self, logged: LoggedEta, log_id: object) -> CheckedEta | None:
        """The verdict on an answer that this code, or this log, cannot have made."""
        eta, code = logged.eta, self._code
        if logged.log_id != log_id:
            return CheckedEta(logged, EtaVerdict.LOG_RESTORED, why=f"it is of the log {logged.log_id}")
        if logged.code_digest != code.digest:
            return CheckedEta(logged, EtaVerdict.OTHER_CODE, why="other code computed it")
        if code.model_of(eta.model_digest) is None:
            return CheckedEta(logged, EtaVerdict.OTHER_CODE, why=f"this code has no model {eta.model_digest}")
        used = [(ORDERS.name, eta.order), *([] if eta.rider is None else [(SPEED.name, eta.rider)])]
        for name, place in used:
            if not code.folds(name, place.generation):
                why = f"generation {place.generation} of {name} is dropped, or was folded by other code"
                return CheckedEta(logged, EtaVerdict.OTHER_CODE, why=why)
        return None

    @staticmethod
    def _without_city(logged: LoggedEta, city: AuditedCity | None) -> CheckedEta | None:
        number = logged.eta.city_snapshot
        if number is None:
            return None
        if city is None:
            why = f"city snapshot {number:,} is not on record any more"
            return CheckedEta(logged, EtaVerdict.UNDECIDED, why=why)
        if city.digest != logged.eta.city_digest:
            why = f"another city snapshot has the number {number:,} now: the database was restored to an older state"
            return CheckedEta(logged, EtaVerdict.LOG_RESTORED, why=why)
        if city.verdict != CityVerdict.EQUAL:
            why = f"city snapshot {number:,} is {city.verdict}: {city.why}"
            return CheckedEta(logged, _OF_CITY[city.verdict], why=why)
        return None

    def _compared(
        self, logged: LoggedEta, order: StateAt[OrderState], rider: StateAt[SpeedState], city: CitySnapshot | None
    ) -> CheckedEta:
        eta, state = logged.eta, order.state
        model = self._code.model_of(eta.model_digest)
        assert state is not None
        assert model is not None
        if state.rider_id != eta.rider_id:
            why = f"served with the rider {eta.rider_id}, and the order had {state.rider_id}"
            return CheckedEta(logged, EtaVerdict.DIFFERENT, why=why)
        try:
            number = None if city is None else city.number
            body = body_of(eta_answer(eta.order_id, state, rider.state, (city, number), model, eta.at_ms))
        except Exception as error:  # noqa: BLE001  (any error of features or model is a finding)
            # A served answer that cannot be computed is a difference, and must not stop the check of the others.
            return CheckedEta(logged, EtaVerdict.DIFFERENT, why=f"{type(error).__name__}: {error}")
        if body == eta.body:
            return CheckedEta(logged, EtaVerdict.EQUAL)
        if logged.fingerprint != self._code.fingerprint:
            return CheckedEta(logged, EtaVerdict.OTHER_CODE, why="a machine of other arithmetic computed it")
        return CheckedEta(logged, EtaVerdict.DIFFERENT, body)


def _of_states(logged: LoggedEta, order: StateAt[OrderState], rider: StateAt[SpeedState]) -> CheckedEta | None:
    for found in (order, rider):
        if found.verdict is not None:
            return CheckedEta(logged, found.verdict, why=found.why)
    return None


def _states_of(
    states: KeyStates[S], used: Sequence[tuple[str, EtaPlace]], budget: WalkBudget
) -> dict[tuple[str, EtaPlace], StateAt[S]]:
    """The states at all places that a batch names: each key is walked once, in the order of its versions."""
    places: defaultdict[str, set[EtaPlace]] = defaultdict(set)
    for key, place in used:
        places[key].add(place)
    # After the answers were read, so that every discard that preceded one of them is known.
    discarded = states.discarded()
    return {
        (key, place): found
        for key, of_key in places.items()
        for place, found in states.at(key, of_key, discarded, budget).items()
    }
