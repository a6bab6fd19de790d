"""The library's InfrastructureFactory over our recorder, mapper and snapshots."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Mapper,
    ProcessRecorder,
    ProgrammingError,
    TrackingRecorder,
    Transcoder,
)
from eventsourcing.utils import Environment

from domain.contracts import Codec
from infrastructure.event_store.mapper import AvroMapper


class EventStoreFactory(InfrastructureFactory[TrackingRecorder]):
    """Hands the library what it is given. This log has no tracking recorders: sinks keep fences instead."""

    def __init__(self, recorder: ApplicationRecorder, snapshots: AggregateRecorder, codec: Codec) -> None:
        super().__init__(Environment("Riders"))
        self._recorder = recorder
        self._snapshots = snapshots
        self._codec = codec

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        return AvroMapper(transcoder or self.transcoder(), self._codec)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return self._snapshots if purpose == "snapshots" else self._recorder

    def application_recorder(self) -> ApplicationRecorder:
        return self._recorder

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        raise ProgrammingError("projections keep fences with their data; there is no tracking recorder")

    def process_recorder(self) -> ProcessRecorder:
        raise ProgrammingError("projections keep fences with their data; there is no process recorder")

    def is_snapshotting_enabled(self) -> bool:
        return True
