"""How the features of a training set are distributed, for the manifest of a model: what drift is measured against."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from domain.features.drift.psi import effective_size
from domain.features.drift.reference import references_of
from domain.features.eta.features import EtaFeatures
from domain.features.eta.learned.inputs import INPUTS, LEG_NUMBERS
from infrastructure.training_sets.model_rows import ModelRows

MAX_REFERENCE_ROWS: Final = 100_000
"""Evenly spread over the set: a bin of a tenth of them is known to a hundredth of itself."""

ANSWERED: Final = tuple(name for name in EtaFeatures._fields if name in INPUTS and name != "leg")
"""The features that an answer shows as numbers, so that what is served can be compared."""


def feature_references(rows: ModelRows) -> dict[str, Any]:
    """The references of the features that answers have, as ``ModelManifest.reference`` stores them."""
    step = max(1, -(-len(rows) // MAX_REFERENCE_ROWS))
    few = rows.inputs[::step]
    of_orders = np.unique(rows.orders[::step], return_counts=True)[1]
    leg_of = {number: leg for leg, number in LEG_NUMBERS.items()}
    legs = [leg_of[number] for number in few[:, INPUTS.index("leg")].tolist()]
    columns = {"leg": legs, **{name: few[:, INPUTS.index(name)].tolist() for name in ANSWERED}}
    return references_of(columns, effective_size(of_orders.tolist()))
