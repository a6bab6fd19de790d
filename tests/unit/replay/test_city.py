"""The city as of a position is the merge of the events up to there, and of no others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.calibration import CALIBRATION
from projections.orders import ORDERS
from projections.replay.as_of import AsOf, Unresolvable
from projections.replay.city import CITY_PROJECTIONS, CitySources, city_at
from projections.replay.key_replay import TooLong
from projections.replay.source import ReplaySource
from projections.traffic import TRAFFIC
from read_models.city.content import CityContent
from tests.support.worlds.city import CityArchive, drive, histories, replayed, vector_of
from tests.support.worlds.order_lives import OrderHistory


def sources_of(rider_log: CityArchive, delivery_log: CityArchive) -> CitySources:
    return CitySources(
        ReplaySource(TRAFFIC, rider_log, json.loads),
        ReplaySource(ORDERS, delivery_log, json.loads),
        ReplaySource(CALIBRATION, delivery_log, json.loads),
    )


def without_vectors(content: CityContent) -> list[object]:
    return [
        content.as_of_ms,
        content.recent,
        content.headings,
        content.finished,
        content.open_orders,
        content.hours,
        content.thresholds,
        content.scores,
    ]


@settings(max_examples=40)
@given(history=histories, data=st.data())
def test_the_city_at_a_position_is_the_merge_of_the_events_up_to_it(
    history: tuple[OrderHistory, OrderHistory], data: st.DataObject
) -> None:
    logs = CityArchive("Rider", history[0]), CityArchive("Delivery", history[1])
    position = data.draw(st.integers(0, min(len(log.events) for log in logs)))
    horizon = logs[0].horizon(AsOf.at_position(position))
    found = city_at(sources_of(*logs), horizon, max_events=position)
    # Logs that end there.
    cut = CityArchive("Rider", history[0][:position]), CityArchive("Delivery", history[1][:position])
    tables = [
        vector_of(log, projection, log.head(projection.stream).seqs)
        for projection in CITY_PROJECTIONS
        for log in [cut[projection.stream == "Delivery"]]
    ]
    assert without_vectors(found) == without_vectors(replayed(horizon.at_ms, *tables))
    assert [each.seqs for each in (found.traffic, found.orders, found.calibration)] == [
        table.vector.seqs for table in tables
    ]


def test_a_log_longer_than_the_limit_is_not_read() -> None:
    log, empty = CityArchive("Rider", drive("anna", 0, 5, 100, north=True)), CityArchive("Delivery")
    chunks: list[int] = []
    horizon = log.horizon(AsOf.at_position(5))
    with pytest.raises(TooLong, match=r"position 5 .* at most 4"):
        city_at(sources_of(log, empty), horizon, 4, chunks.append)
    assert chunks == []
    city_at(sources_of(log, empty), horizon, 5, chunks.append)
    assert sum(chunks) == 5


def test_a_log_whose_beginning_was_detached_has_no_city() -> None:
    log, empty = CityArchive("Rider", drive("anna", 0, 5, 100, north=True)), CityArchive("Delivery")
    log.detach(2)
    with pytest.raises(Unresolvable):
        city_at(sources_of(log, empty), log.horizon(AsOf.at_position(5)))
