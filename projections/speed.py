"""The speed projection: the rolling window of each rider, for the ETA model to read in a millisecond."""

from __future__ import annotations

from domain.features import speed_window
from projections.protocol import Projection
from read_models import speed, speed_state

SPEED = Projection(
    name=speed.NAME,
    stream="Rider",
    fold_version=2,
    initial=speed_window.EMPTY,
    fold=speed_window.fold,
    encode=speed_state.encode,
    decode=speed_state.decode,
    view=speed.VIEW,
)
