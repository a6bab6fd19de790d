"""Answers of the ETA: live ones from the read models, and those of the past from the log alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

from domain.features.eta.baseline import EtaModel
from domain.features.eta.estimate import estimate
from domain.features.eta.features import OrderIsOver
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.orders import OrderState
from domain.features.speed.window import SpeedState
from infrastructure.eta_models.served_models import ModelsInUse
from infrastructure.eta_models.shadow import ShadowQuestion
from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.time_travel import read_past
from infrastructure.redis.state_reader import FoundState, ReadModelUnavailable, StateReader
from infrastructure.replay.past_etas import PastEta, PastEtas
from infrastructure.timestamps import now_ms
from projections.parity.served_etas import EtaPlace, ServedEta
from projections.replay.as_of import AsOf
from read_models.city.snapshot import CitySnapshot
from read_models.eta.answer import answer_of
from read_models.orders import state as order_state
from read_models.speed import state as speed_state
from read_models.view import body_of

REMEMBERED_STATES = 4_096
"""Decoded states that are remembered, of orders and of riders each (invariant 15)."""

OnEtaServed = Callable[[ServedEta], None]
"""Called for every live answer, with the exact bytes that are sent. Never waits, never raises."""

OnEtaAnswer = Callable[[Mapping[str, Any], EtaQuantiles], None]
"""Called for every live answer with its values, as ``eta_answer`` has them, and with the quantiles of the model before
calibration. Never waits, never raises."""


OnShadowQuestion = Callable[[ShadowQuestion], None]
"""Called for every live answer while a model is in shadow. Never waits, never raises."""


class EtaModels(Protocol):
    """Which model answers."""

    def in_use(self) -> ModelsInUse:
        """Never waits."""
        ...

    def then(self, at_ms: int) -> EtaModel:
        """The model that served at an instant, epoch ms. Blocks. Raises PortUnavailable."""
        ...


class EtaReads(NamedTuple):
    """What an answer is read from. ``city``: the newest snapshot that this process has; None before the first."""

    orders: StateReader
    riders: StateReader
    city: Callable[[], CitySnapshot | None]
    past: PastEtas


class EtaAnswer(NamedTuple):
    """``values`` as ``eta_answer`` has them, ``body`` as their bytes. ``headers``: what the HTTP answer says of it.

    ``of_model``: the quantiles before calibration.
    """

    values: dict[str, Any]
    body: bytes
    headers: dict[str, str]
    of_model: EtaQuantiles


@dataclass(frozen=True)
class EtaAnswers:
    """The one place where an ETA is computed: each live answer is on record, wherever it is shown."""

    reads: EtaReads
    models: EtaModels
    on_served: OnEtaServed
    on_answer: OnEtaAnswer
    on_shadow: OnShadowQuestion

    async def live(self, order_id: str) -> EtaAnswer:
        """The answer as of now. It takes two round trips to Redis: the order, then its rider.

        Raises:
            ApiError: 404, no event of the order is served; 409, it is over; 503, Redis does not answer.
        """
        reads = self.reads
        try:
            found = await _state_of(reads.orders, order_id)
            order = None if found is None else _order(found.state)
            if found is None or order is None:
                raise unknown("no event of this order is served yet; one that was just placed will be, in a moment")
            rider = None if order.rider_id is None else await _state_of(reads.riders, order.rider_id)
        except ReadModelUnavailable as error:
            raise unavailable("read_model_unavailable", str(error)) from error
        state = None if rider is None else _rider(rider.state)
        city, at_ms = reads.city(), now_ms()
        number = None if city is None else city.number
        refolding = found.refolding or (rider is not None and rider.refolding)
        headers = {"Ridelog-Refolding": "true"} if refolding else {}
        in_use = self.models.in_use()
        answer = self._answer(order_id, order, state, (city, number), (in_use.serving, at_ms), headers)
        self.on_served(
            ServedEta(
                order_id,
                EtaPlace(found.generation, order.version, order.position),
                order.rider_id,
                None if rider is None or state is None else EtaPlace(rider.generation, state.version, state.position),
                number,
                None if city is None else city.digest,
                in_use.serving.digest,
                at_ms,
                answer.body,
            )
        )
        self.on_answer(answer.values, answer.of_model)
        if in_use.shadow is not None:
            asked = (order_id, order, state, city, at_ms, in_use.shadow)
            self.on_shadow(ShadowQuestion(*asked, in_use.serving.digest, answer.of_model))
        return answer

    async def then(self, order_id: str, when: AsOf) -> EtaAnswer:
        """The answer as of then. Raises ApiError: 404, no event counts then; 409, it was over then; 422, too long."""
        past, model = await read_past(when, partial(self._past, order_id, when))
        headers = {"Ridelog-Position": str(past.horizon.position)}
        if past.order is None:
            raise unknown("no event of this order counts as of then", headers)
        return self._answer(order_id, past.order, past.rider, (past.city, None), (model, past.horizon.at_ms), headers)

    def _past(self, order_id: str, when: AsOf) -> tuple[PastEta, EtaModel]:
        past = self.reads.past.at(order_id, when)
        return past, self.models.then(past.horizon.at_ms)

    def _answer(
        self,
        order_id: str,
        order: OrderState,
        rider: SpeedState | None,
        city: tuple[CitySnapshot | None, int | None],
        by: tuple[EtaModel, int],
        headers: dict[str, str],
    ) -> EtaAnswer:
        model, at_ms = by
        try:
            found = estimate(order, rider, city[0], at_ms, model, order_id=order_id)
        except OrderIsOver as error:
            raise ApiError(409, "delivery_over", f"{error}, and has no ETA", headers) from error
        values = answer_of(found, order_id, order, rider, city[1])
        of_model = EtaQuantiles(found.model_p50_seconds, found.model_p90_seconds)
        return EtaAnswer(values, body_of(values), headers, of_model)


def unknown(detail: str, headers: dict[str, str] | None = None) -> ApiError:
    return ApiError(404, "unknown_delivery", detail, headers)


async def _state_of(reader: StateReader, key: str) -> FoundState | None:
    found = await reader.get(key)
    if found is not None:
        return found
    # Again, with the fence: a shard that is refolded must not be taken for one without the key.
    again = await reader.get_with_fence(key)
    return again if isinstance(again, FoundState) else None


@lru_cache(maxsize=REMEMBERED_STATES)
def _order(data: bytes) -> OrderState | None:
    """The order of a state; None if none of its events placed it."""
    state = order_state.decode(data)
    return state if state.status else None


_rider = lru_cache(maxsize=REMEMBERED_STATES)(speed_state.decode)
