"""Which process follows which projections, and which process audits their answers."""

from __future__ import annotations

import pytest

from infrastructure.errors import UserError
from infrastructure.processes.worker_groups import (
    ETA,
    OTHERS,
    audited_projections,
    audits_city,
    is_background,
    point_read_projections,
    served_projections,
    worker_groups,
)
from infrastructure.settings.settings import Settings
from projections.analytics import ANALYTICS
from projections.calibration import CALIBRATION
from projections.catalogue import PROJECTIONS
from projections.orders import ORDERS
from projections.speed import SPEED
from projections.traffic import TRAFFIC


def test_speed_serves_point_reads() -> None:
    assert point_read_projections() == [SPEED]


def test_a_projection_with_point_reads_shares_its_process_with_no_other() -> None:
    for projection in point_read_projections():
        assert worker_groups()[projection.name] == [projection.name]


def test_what_an_eta_reads_shares_its_process_with_no_table_of_analysts() -> None:
    groups = worker_groups()
    assert sorted(groups[ETA]) == [CALIBRATION.name, ORDERS.name, TRAFFIC.name]
    assert all(PROJECTIONS[name].partials is None for name in groups[OTHERS])


def test_each_projection_is_followed_by_one_process() -> None:
    followed = [name for names in worker_groups().values() for name in names]
    assert sorted(followed) == sorted(PROJECTIONS)


def test_answers_are_audited_once_and_not_by_the_process_that_serves_them() -> None:
    audits = {name: audited_projections(names) for name, names in worker_groups().items()}
    assert [one for found in audits.values() for one in found] == point_read_projections()
    assert not any(audits[projection.name] for projection in point_read_projections())
    assert audited_projections(list(PROJECTIONS)) == point_read_projections()


def test_the_city_is_audited_once_and_not_by_a_process_that_serves_answers() -> None:
    audits = [name for name, names in worker_groups().items() if audits_city(names)]
    assert audits == [OTHERS]
    assert audits_city(list(PROJECTIONS))


def test_only_the_process_that_no_answer_waits_for_has_lower_priority() -> None:
    assert [name for name, names in worker_groups().items() if is_background(names)] == [OTHERS]
    assert not is_background(list(PROJECTIONS))


def test_serve_follows_only_the_projections_that_the_settings_name() -> None:
    served = served_projections(Settings(projections=" analytics, speed"))
    assert served == [SPEED.name, ANALYTICS.name]
    assert worker_groups(served) == {SPEED.name: [SPEED.name], OTHERS: [ANALYTICS.name]}


@pytest.mark.parametrize("projections", ["", ",", "speed,spede"])
def test_a_list_without_or_with_a_wrong_name_is_refused(projections: str) -> None:
    with pytest.raises(UserError, match="name one or more of"):
        served_projections(Settings(projections=projections))


@pytest.mark.parametrize("served", [[SPEED.name], [SPEED.name, TRAFFIC.name], [ANALYTICS.name, SPEED.name]])
def test_audits_run_once_also_if_flink_follows_the_others(served: list[str]) -> None:
    groups = worker_groups(served)
    auditing = [name for name, names in groups.items() if audits_city(names, served)]
    assert len(auditing) == 1
    assert audited_projections(groups[auditing[0]], served) == point_read_projections()
