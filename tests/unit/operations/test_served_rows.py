"""Answers on record are computed again by a model that keeps what it was given: it must answer as the served one."""

from __future__ import annotations

import pytest

from domain.features.eta.baseline import EtaModel
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.stand_in import StandIn
from infrastructure.operations.served_rows import recording_of
from projections.parity.served_etas import EtaVerdict
from tests.support.worlds.order_lives import placed_data
from tests.support.worlds.recorded_city import AS_OF_MS
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.served_etas import EtaWorld, audit_of, leg


@pytest.mark.parametrize("model", [packaged_baseline(), StandIn(packaged_baseline())], ids=["baseline", "stand-in"])
def test_regression_a_recording_of_a_model_gives_the_answer_that_the_model_gave(model: EtaModel) -> None:
    """Answers of the stand-in were called different: they say `model_unavailable`, and its recording did not."""
    world = EtaWorld([leg("r0", "o0", 1)], [("o0", "DeliveryPlaced", placed_data("o0", START_MS, 0))])
    served = world.serve("o0", 1, 0, None, AS_OF_MS, model=model)
    assert (b"model_unavailable" in served.eta.body) == isinstance(model, StandIn)
    recorded = recording_of(model)
    (checked,) = audit_of(world, model=recorded).check([served])
    assert (checked.verdict, recorded.given is not None) == (EtaVerdict.EQUAL, True)
