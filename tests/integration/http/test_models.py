"""``/models`` over real HTTP and a registry in Postgres: which one serves, and the figures of a card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Engine, event, text

from infrastructure.eta_models.model_files import MANIFEST
from infrastructure.eta_models.model_plots import MAX_PLOT_BYTES, PLOTS, read_plots
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.eta_models.served_models import LoadedModels
from infrastructure.http.application import ApiParts, build
from infrastructure.http.models import ModelReads, models_router
from infrastructure.settings.settings import Settings
from infrastructure.status.model_line import models_status
from infrastructure.training_sets.train_eta import write_model
from tests.support.eta.small_models import digest_in, model_files, with_plots
from tests.support.servers.http_server import served
from tests.support.worlds.recorded_events import nothing

PNG = b"\x89PNG\r\n\x1a\n"
SLOW, QUICK = model_files("slow", 2.0), model_files("quick", 0.5)


@pytest.fixture
def http(engine: Engine) -> Iterator[httpx.Client]:
    absent = cast("Any", None)
    routers = [models_router(ModelReads(ModelRegistry(engine)), interval_s=0.0)]
    parts = ApiParts(absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=routers)
    with served(build(Settings(), parts)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_the_baseline_serves_until_a_model_is_promoted(http: httpx.Client, engine: Engine) -> None:
    (baseline,) = http.get("/models").json()["items"]
    assert (baseline["name"], baseline["role"], baseline["created_at_ms"]) == ("baseline", "serving", None)
    registry = ModelRegistry(engine)
    registry.promote(registry.add(SLOW, "ann"), "ann")
    registry.shadow(registry.add(QUICK, "ann"), "ann")
    items = http.get("/models").json()["items"]
    assert [(one["name"], one["role"]) for one in items] == [("baseline", ""), ("slow", "serving"), ("quick", "shadow")]


def statements_of(engine: Engine) -> list[str]:
    """Each statement that the engine executes from now on."""
    found: list[str] = []

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", executed)
    return found


def test_regression_nothing_that_is_polled_reads_the_answers_on_record(http: httpx.Client, engine: Engine) -> None:
    registry = ModelRegistry(engine)
    registry.promote(registry.add(SLOW, "ann"), "ann")
    loaded = LoadedModels(registry)
    statements = statements_of(engine)
    assert http.get("/models").status_code == 200
    assert models_status(engine, loaded).serving.name == "slow"
    assert statements
    assert not [one for one in statements if "served_etas" in one]
    # The models of the process are loaded once, not at each read of the verdicts.
    del statements[:]
    assert models_status(engine, loaded).serving.unavailable == ""
    assert not [one for one in statements if "eta_model_files" in one]


def test_regression_a_card_reads_only_the_manifest(http: httpx.Client, engine: Engine) -> None:
    digest = ModelRegistry(engine).add(SLOW, "ann")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM eta_model_files WHERE name <> :name"), {"name": MANIFEST})
    assert http.get(f"/models/{digest}").json()["name"] == "slow"


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM eta_model_files WHERE name = :name",
        "UPDATE eta_model_files SET content = '{' WHERE name = :name",
        """UPDATE eta_model_files SET content = replace(convert_from(content, 'UTF8'), 'ridelog-eta-model/1',
           'ridelog-eta-model/9')::bytea WHERE name = :name""",
    ],
)
def test_regression_a_manifest_that_cannot_be_read_is_a_described_error(
    http: httpx.Client, engine: Engine, damage: str
) -> None:
    digest = ModelRegistry(engine).add(SLOW, "ann")
    with engine.begin() as connection:
        connection.execute(text(damage), {"name": MANIFEST})
    answer = http.get(f"/models/{digest}")
    assert (answer.status_code, answer.json()["code"]) == (409, "model_unreadable")
    assert "manifest" in answer.json()["detail"] or "format" in answer.json()["detail"]


def test_a_card_has_the_figures_of_the_manifest(http: httpx.Client, engine: Engine) -> None:
    digest = ModelRegistry(engine).add(SLOW, "ann")
    assert digest == digest_in(SLOW)
    card = http.get(f"/models/{digest[:12]}").json()
    assert (card["digest"], card["name"], card["role"]) == (digest, "slow", "")
    assert set(card["bounds"]) <= set(card["inputs"])
    assert {"evaluation", "training", "training_set"} <= card.keys()


def test_the_plots_of_a_card_are_images_that_it_names(http: httpx.Client, engine: Engine, tmp_path: Path) -> None:
    """Given a model's directory with plots, when it is in the registry, then the card names them in its order."""
    names = ["error-by-hour.png", "error-by-leg.png"]
    plots = {name: PNG + name.encode() for name in names}
    files = with_plots(model_files("plotted", 3.0), plots)
    write_model(tmp_path, files)
    digest = ModelRegistry(engine).add({**files, **read_plots(tmp_path, files)}, "ann")
    assert http.get(f"/models/{digest}").json()["plots"] == [
        {"name": "error-by-leg.png", "title": "Error by leg"},
        {"name": "error-by-hour.png", "title": "Error by local hour"},
    ]
    for name in names:
        answer = http.get(f"/models/{digest[:12]}/plots/{name}")
        assert (answer.content, answer.headers["content-type"]) == (plots[name], "image/png")
        assert answer.headers["x-content-type-options"] == "nosniff"
    # A model is loaded without its plots.
    assert not ModelRegistry(engine).files(digest).keys() & PLOTS.keys()


@pytest.mark.parametrize("name", ["calibration.png", "manifest.json", "trees-50.json", "%00", "x.png"])
def test_what_is_no_plot_of_a_model_is_not_served(http: httpx.Client, engine: Engine, name: str) -> None:
    digest = ModelRegistry(engine).add(SLOW, "ann")
    answer = http.get(f"/models/{digest}/plots/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_plot")
    assert "GET /models" in answer.json()["detail"]


def test_a_plot_that_its_manifest_does_not_name_stays_in_the_directory(tmp_path: Path) -> None:
    """Given plots that are changed, no PNG or too large, when a model is read, then the model comes without them."""
    plots = {
        "error-by-leg.png": PNG,
        "error-by-hour.png": b"<svg onload=alert(1)>",
        "calibration.png": PNG + bytes(MAX_PLOT_BYTES),
        "importance.png": PNG,
    }
    files = with_plots(SLOW, plots)
    write_model(tmp_path, files | {"error-by-leg.png": PNG + b"changed"})
    assert read_plots(tmp_path, files) == {"importance.png": PNG}


def test_an_unknown_digest_is_refused_with_what_to_do(http: httpx.Client, engine: Engine) -> None:
    registry = ModelRegistry(engine)
    for files in (SLOW, QUICK):
        registry.add(files, "ann")
    for start in ("zzz", "%25", "%00", "ffff", "x" * 300):
        answer = http.get(f"/models/{start}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
        assert "GET /models" in answer.json()["detail"]
