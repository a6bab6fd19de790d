"""Which process follows which projections, and which process audits their answers."""

from __future__ import annotations

from infrastructure.processes.worker_groups import (
    audited_projections,
    audits_city,
    point_read_projections,
    worker_groups,
)
from projections.catalogue import PROJECTIONS
from projections.speed import SPEED


def test_speed_serves_point_reads() -> None:
    assert point_read_projections() == [SPEED]


def test_a_projection_with_point_reads_shares_its_process_with_no_other() -> None:
    for projection in point_read_projections():
        assert worker_groups()[projection.name] == [projection.name]


def test_answers_are_audited_once_and_not_by_the_process_that_serves_them() -> None:
    audits = {name: audited_projections(names) for name, names in worker_groups().items()}
    assert [one for found in audits.values() for one in found] == point_read_projections()
    assert not any(audits[projection.name] for projection in point_read_projections())
    assert audited_projections(list(PROJECTIONS)) == point_read_projections()


def test_the_city_is_audited_once_and_not_by_a_process_that_serves_answers() -> None:
    audits = [name for name, names in worker_groups().items() if audits_city(names)]
    assert len(audits) == 1
    assert audits[0] not in {projection.name for projection in point_read_projections()}
