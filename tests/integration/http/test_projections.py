"""``/projections`` over real HTTP and Postgres: what may be asked of which generation, and by whom."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Engine, text

from infrastructure.http.application import ApiParts, build
from infrastructure.http.projection_desk import ProjectionDesk
from infrastructure.http.projections import projections_router
from infrastructure.observability.stage_reports import instance_of
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.projection_tasks import ProjectionTasks, TaskProgress, TaskState
from infrastructure.settings.settings import Settings
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation
from projections.speed import SPEED
from tests.support.reports.reported_stages import insert_report
from tests.support.servers.http_server import served
from tests.support.worlds.recorded_events import nothing

ADMIN = {"Authorization": "Bearer admin-secret-12345"}
READER = {"Authorization": "Bearer reader-secret-1234"}
TOKENS = "read=reader-secret-1234,admin=admin-secret-12345"
HERE = instance_of(os.getpid())
FOLDS = {"speed": fold_digest(SPEED)}
DIGEST = "0123456789abcdef"
DIFFERENT = {"live": 1, "differing": 3, "digest": DIGEST, "examples": [{"shard": 1, "name": "r<b>", "words": "pings"}]}


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    PostgresGenerations(engine).first(SPEED)
    yield engine
    engine.dispose()


@pytest.fixture
def http(engine: Engine) -> Iterator[httpx.Client]:
    absent = cast("Any", None)
    routers = [projections_router(ProjectionDesk(engine))]
    parts = ApiParts(absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=routers)
    with (
        served(build(Settings(tokens=TOKENS), parts)) as url,
        httpx.Client(base_url=url, headers=ADMIN, trust_env=False) as client,
    ):
        yield client


def speed(http: httpx.Client) -> dict[str, Any]:
    (found,) = (one for one in http.get("/projections").json()["items"] if one["projection"] == "speed")
    assert isinstance(found, dict)
    return found


def second(engine: Engine, state: Any, comparison: dict[str, Any] | None = None) -> Generation:
    generations = PostgresGenerations(engine)
    begun = generations.begin(SPEED)
    generations.record(begun, state, comparison)
    return begun


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def test_the_list_has_every_projection_and_what_may_be_done(http: httpx.Client, engine: Engine) -> None:
    second(engine, "ready", {"live": 1, "differing": 0, "digest": "", "examples": []})
    found = speed(http)
    shown = [(one["generation"], one["served"], one["ours"], one["actions"]) for one in found["generations"]]
    assert shown == [(1, True, True, []), (2, False, True, ["switch", "drop"])]
    assert found["task"] is None
    assert len(http.get("/projections").json()["items"]) > 5


def test_a_request_is_recorded_and_shown_until_it_is_over(http: httpx.Client, engine: Engine) -> None:
    answer = http.post("/projections/speed/rebuild", json={"workers": 2})
    assert (answer.status_code, answer.json()["state"]) == (202, "requested")
    assert code(http.post("/projections/speed/drop", json={"generation": 1})) == (409, "wrong_state")
    assert code(http.post("/projections/speed/rebuild", json={})) == (409, "task_open")
    tasks = ProjectionTasks(engine)
    claimed = tasks.claim(HERE, FOLDS)
    assert claimed is not None
    assert claimed.options == {"verify_only": False, "workers": 2}
    progress = TaskProgress(step="filling", events_done=10, events_total=40, events_per_s=5.0, seconds_left=6.0)
    tasks.report(claimed.task, HERE, progress)
    task = speed(http)["task"]
    assert (task["detail"], task["events_done"], task["seconds_left"]) == ("filling", 10, 6.0)
    tasks.end(claimed.task, TaskState.DONE, {"verdict": "equal", "detail": "switch readers to it"})
    task = speed(http)["task"]
    assert (task["state"], task["verdict"], task["detail"]) == ("done", "equal", "switch readers to it")
    assert task["seconds_left"] is None


def test_differences_are_shown_in_words_and_accepted_by_their_digest_alone(http: httpx.Client, engine: Engine) -> None:
    second(engine, "compared", DIFFERENT)
    shown = speed(http)["generations"][1]
    assert (shown["differences"], shown["digest"], shown["actions"]) == (3, DIGEST, ["accept", "drop"])
    assert shown["examples"] == [{"shard": 1, "name": "r<b>", "words": "pings"}]
    for digest in (None, DIGEST[::-1]):
        answer = http.post("/projections/speed/switch", json={"generation": 2, "digest": digest})
        assert code(answer) == (409, "differences_not_accepted")
    answer = http.post("/projections/speed/switch", json={"generation": 2, "digest": DIGEST})
    assert answer.status_code == 202


def test_a_changed_fold_under_the_same_version_cannot_be_accepted(http: httpx.Client, engine: Engine) -> None:
    generations = PostgresGenerations(engine)
    changed = replace(SPEED, fold=lambda state, event: state)
    generations.record(generations.begin(changed), "compared", DIFFERENT)
    assert speed(http)["generations"][1]["actions"] == ["drop"]
    answer = http.post("/projections/speed/switch", json={"generation": 2, "digest": DIGEST})
    assert code(answer) == (409, "wrong_state")
    assert "other code" in answer.json()["detail"]


def test_only_a_generation_of_before_is_rolled_back_to(http: httpx.Client, engine: Engine) -> None:
    second(engine, "filling")
    assert code(http.post("/projections/speed/roll-back", json={"generation": 2})) == (409, "wrong_state")
    assert code(http.post("/projections/speed/roll-back", json={"generation": 3})) == (404, "unknown_generation")
    second(engine, "following")
    assert speed(http)["generations"][2]["actions"] == ["roll-back", "drop"]
    assert http.post("/projections/speed/roll-back", json={"generation": 3}).status_code == 202


def test_a_task_is_cancelled_by_its_number(http: httpx.Client) -> None:
    number = http.post("/projections/speed/rebuild", json={}).json()["task"]
    assert code(http.post("/projections/analytics/cancel", json={"task": number})) == (404, "unknown_task")
    answer = http.post("/projections/speed/cancel", json={"task": number})
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert code(http.post("/projections/speed/cancel", json={"task": number})) == (409, "task_ended")


def test_a_switch_that_runs_is_not_cancelled(http: httpx.Client, engine: Engine) -> None:
    second(engine, "ready", {"live": 1, "differing": 0, "digest": "", "examples": []})
    number = http.post("/projections/speed/switch", json={"generation": 2}).json()["task"]
    ProjectionTasks(engine).claim(HERE, FOLDS)
    answer = http.post("/projections/speed/cancel", json={"task": number})
    assert code(answer) == (409, "not_cancellable")
    assert "readers" in answer.json()["detail"]


def test_what_a_killed_drop_has_left_can_be_dropped(http: httpx.Client, engine: Engine) -> None:
    second(engine, "dropped")
    assert http.post("/projections/speed/drop", json={"generation": 2}).status_code == 202
    assert code(http.post("/projections/speed/drop", json={"generation": 3})) == (404, "unknown_generation")


def test_a_request_that_no_running_code_may_take_says_so(http: httpx.Client, engine: Engine) -> None:
    http.post("/projections/speed/rebuild", json={})
    assert speed(http)["task"]["detail"] == "waits for its process"
    with engine.begin() as connection:
        connection.execute(text("UPDATE projection_tasks SET requested_at = requested_at - interval '1 minute'"))
    assert "no `serve` with this fold runs" in speed(http)["task"]["detail"]
    with engine.begin() as connection:
        insert_report(connection, "speed", HERE, 0, json.dumps({"detail": {"fold": FOLDS["speed"]}}))
    assert "no `serve` has taken it yet" in speed(http)["task"]["detail"]


def test_reading_needs_the_role_read_and_a_task_the_role_admin(http: httpx.Client) -> None:
    assert http.get("/projections", headers=READER).status_code == 200
    for verb in ("rebuild", "switch", "roll-back", "drop", "cancel"):
        body = {"generation": 2, "task": 1}
        assert code(http.post(f"/projections/speed/{verb}", json=body, headers=READER)) == (403, "forbidden")
        assert http.post(f"/projections/speed/{verb}", json=body, headers={"Authorization": ""}).status_code == 401


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"generation": "2"}, "invalid_type"),
        ({}, "invalid_type"),
        ([], "invalid_type"),
        ({"generation": 0}, "out_of_range"),
        ({"generation": 2**40}, "out_of_range"),
        ({"generation": 2, "digest": 5}, "invalid_type"),
        ({"generation": 2, "digest": "\0"}, "invalid_digest"),
        ({"generation": 2, "digest": ""}, "invalid_digest"),
        ({"generation": 2, "digest": "0123456789abcdef\n"}, "invalid_digest"),
    ],
)
def test_a_body_that_names_no_generation_is_refused(http: httpx.Client, body: Any, expected: str) -> None:
    assert code(http.post("/projections/speed/switch", json=body)) == (400, expected)


def test_an_unknown_projection_is_refused_with_the_names_of_all(http: httpx.Client) -> None:
    answer = http.post("/projections/nothing/rebuild", json={})
    assert code(answer) == (404, "unknown_projection")
    assert "speed" in answer.json()["detail"]
    for strange in ({"workers": 99}, {"workers": 0}, {"verify_only": "yes"}):
        assert http.post("/projections/speed/rebuild", json=strange).status_code == 400
