"""The speed projection: each rider's latest pings, pace and open legs, which the ETA reads in a millisecond."""

from __future__ import annotations

from domain.features.speed import window as speed_window
from projections.core.projection import Projection
from read_models.speed import state as speed_state
from read_models.speed import view as speed

SPEED = Projection(
    name=speed.NAME,
    stream="Rider",
    fold_version=3,
    initial=speed_window.EMPTY,
    fold=speed_window.fold,
    encode=speed_state.encode,
    decode=speed_state.decode,
    view=speed.VIEW,
    point_read=True,
)
