"""Rows of a training set from answers on record: each is recomputed from the events, and has a row only if it is equal.

The audit of ``verify-parity eta`` recomputes them, at the positions and with the model that each names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from domain.features.eta.baseline import EtaModel
from domain.features.eta.facts import NO_FACTS, OrderFacts
from domain.features.eta.features import EtaFeatures, EtaReading
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.stand_in import StandIn
from domain.features.eta.way import Way
from domain.identifiers import shard_of
from infrastructure.backends import Backends
from infrastructure.operations.verify_eta import ModelOf, NamedCities
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.postgres.served_reads import PostgresServedReads
from infrastructure.training_sets.eta_rows import RowSource
from infrastructure.training_sets.manifest import numeric_fingerprint
from infrastructure.training_sets.row_chunks import ChunkFiles, ChunkPart, row_start, write_part
from infrastructure.training_sets.spool import SpoolReader, SpoolWriter
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.parity.eta_audit import EtaAudit, EtaCode
from projections.parity.eta_findings import EtaFindings
from projections.parity.key_states import KeyStates
from projections.parity.served_etas import EtaVerdict, LoggedEta, eta_code_digest
from projections.speed import SPEED

BATCH_ETAS = 5_000
"""Answers in memory at once, about 2 KB each, with the rows made of them."""


class RecordingModel:
    """A model that keeps what it was last given, so that a row has the very features that were compared."""

    def __init__(self, model: EtaModel) -> None:
        self._model = model
        self.name, self.digest = model.name, model.digest
        self.given: EtaReading | None = None

    def is_outside_training(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> bool:
        return self._model.is_outside_training(features, way, facts)

    def predict(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> EtaQuantiles:
        self.given = EtaReading(features, way, None, facts)
        return self._model.predict(features, way, facts)


class _RecordingStandIn(RecordingModel, StandIn):
    """``estimate`` knows a stand-in by its class: an answer of it has the reason ``model_unavailable``."""


def recording_of(model: EtaModel) -> RecordingModel:
    """The model, which keeps what it was last given, and answers the same."""
    return _RecordingStandIn(model) if isinstance(model, StandIn) else RecordingModel(model)


class ServedPass:
    """Makes chunks of rows from answers on record, best in ascending order of their city snapshots."""

    def __init__(self, backends: Backends, folder: Path, model_of: ModelOf, on_progress: Callable[[int], None]) -> None:
        """``on_progress`` gets how many answers were checked since the last call."""
        self._backends = backends
        self._folder = folder
        self._models: dict[str, RecordingModel | None] = {}
        self._etas = PostgresServedEtas(backends.engine)
        self._on_progress = on_progress
        self._generations = backends.generations.all_by_projection()
        code = EtaCode(eta_code_digest(), numeric_fingerprint(), self._recording, self._folds)
        self._find = model_of
        self._audit = EtaAudit(self._states(ORDERS), self._states(SPEED), code)
        self._cities = NamedCities(backends, self._audit.forget, lambda: on_progress(0))

    def make(self, chunk: int, ids: Sequence[int]) -> None:
        """Write the rows of the answers with these ids. Raises PortUnavailable, RegistryUnavailable, OSError."""
        files = ChunkFiles(self._folder, chunk)
        batch = self._etas.of_ids(ids)
        log_id = self._backends.log.head(ORDERS.stream).log_id
        findings, undecided = EtaFindings(), Counter[str]()
        if len(batch) < len(ids):
            undecided["not on record"] = len(ids) - len(batch)
        with SpoolWriter(files.rows) as spool:
            for checked in self._audit.check(batch, log_id, self._cities):
                findings.add(checked)
                if checked.verdict == EtaVerdict.EQUAL:
                    row = self._row(checked.logged)
                    spool.add(shard_of(row[0]), row)
                elif checked.verdict != EtaVerdict.DIFFERENT:
                    undecided[checked.verdict] += 1
        self._on_progress(len(ids))
        rows = findings.totals[EtaVerdict.EQUAL]
        part = ChunkPart(rows, self._audit.events, findings.different, dict(undecided), findings.examples)
        write_part(files, part)

    def _row(self, logged: LoggedEta) -> tuple[Any, ...]:
        """The row of an answer that was just found equal."""
        eta = logged.eta
        model = self._models[eta.model_digest]
        assert model is not None
        assert model.given is not None
        body = msgspec.json.decode(eta.body, type=_Served)
        answer = (body.p50_seconds, body.p90_seconds, eta.model_digest, eta.city_snapshot, logged.id)
        return row_start(eta.order_id, eta.at_ms, eta.order.position, RowSource.SERVED, model.given, answer)

    def _states(self, projection: Projection[Any]) -> KeyStates[Any]:
        source, snapshots = self._backends.replay_source(projection), self._backends.snapshots(projection)
        reads = PostgresServedReads(self._backends.engine, projection.name)
        return KeyStates(source, snapshots, reads.record_wrong)

    def _folds(self, name: str, generation: int) -> bool:
        known = [one for one in self._generations.get(name, ()) if one.number == generation]
        return any(one.is_of(PROJECTIONS[name]) for one in known)

    def _recording(self, digest: str) -> EtaModel | None:
        if digest not in self._models:
            model = self._find(digest)
            self._models[digest] = None if model is None else recording_of(model)
        return self._models[digest]


class _Served(msgspec.Struct):
    """What a row takes from the body of an answer, to the digit."""

    p50_seconds: float
    p90_seconds: float


def served_orders(folder: Path, shard: int, chunks: Sequence[int]) -> dict[str, list[int]]:
    """The orders of one shard that have rows, each with an empty list. Raises OSError."""
    return {row[0]: [] for chunk in chunks for row in _rows(folder, shard, chunk)}


def _rows(folder: Path, shard: int, chunk: int) -> Iterator[Any]:
    return SpoolReader(ChunkFiles(folder, chunk).rows).read(shard)
