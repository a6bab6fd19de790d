"""The ETA over HTTP with a learned model and with the baseline, on one ``serve`` in one run: they take turns.

``python -m benchmarks.eta_model_http DIR``: DIR is the directory of a model. Between two turns the model is promoted,
or rolled back, under the running API. Only answers whose digest is that of the turn count. The model gets no bounds, so
that no answer falls back to the baseline: the time is that of its trees.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from benchmarks.cpu import by_program
from benchmarks.eta_filled_log import RIDERS, fill, order, wait_served
from benchmarks.open_loop import spread
from benchmarks.results import at_most, report
from domain.features.eta.packaged import packaged_baseline
from infrastructure.backends import Backends
from infrastructure.eta_models.model_files import (
    MANIFEST,
    ModelManifest,
    digest_of,
    load_folder,
    read_model_files,
)
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.settings.settings import Settings
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog, ridelog

ROUNDS = 4
REQUESTS = 2_000
"""A round, of each of the two, one after the other on one connection."""
WITHIN_S = 30.0
MODEL, BASELINE = "model", "baseline"


def without_bounds(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same trees, for inputs of any value."""
    manifest = msgspec.json.decode(files[MANIFEST], type=ModelManifest)
    spec = msgspec.structs.replace(manifest.spec, bounds={})
    changed = msgspec.structs.replace(manifest, spec=spec, digest=digest_of(spec, files))
    return {**files, MANIFEST: msgspec.json.encode(changed)}


def measure(one: Ridelog, client: httpx.Client, digest: str) -> tuple[list[float], float]:
    """Seconds of each answer of the model with that digest, and CPU seconds of the API an answer."""

    def answers() -> bool:
        return bool(client.get(f"/deliveries/{order(0)}/eta").json()["model"]["digest"] == digest)

    eventually(answers, within_s=WITHIN_S, what="the API has taken the model over")
    root, took = psutil.Process(one.process.pid), []
    before = by_program(root, {})["api"]
    for number in range(REQUESTS):
        began = time.perf_counter()
        answer = client.get(f"/deliveries/{order(number % RIDERS)}/eta")
        took.append(time.perf_counter() - began)
        assert answer.json()["model"]["digest"] == digest
    return took, (by_program(root, {})["api"] - before) / REQUESTS


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The ETA over HTTP, with a model and with the baseline.")
    parser.add_argument("model", type=Path, metavar="DIR")
    parser.add_argument("--events", type=int, default=20_000, help="in the log before the measurement")
    options = parser.parse_args(arguments)
    load_folder(options.model)
    files = without_bounds(read_model_files(options.model))
    took: defaultdict[str, list[float]] = defaultdict(list)
    cpu: defaultdict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        one = stack.enter_context(ridelog(Path(folder) / "data"))
        info = one.info
        settings = Settings(data_dir=one.data_dir, postgres_url=info.postgres_url, redis_url=info.redis_url)
        backends = stack.enter_context(Backends(settings))
        fill(backends, options.events)
        wait_served(one, backends)
        registry = ModelRegistry(backends.engine)
        digest = registry.add(files, "benchmark")
        client = stack.enter_context(httpx.Client(base_url=info.http_url, trust_env=False, timeout=WITHIN_S))
        for turn in range(ROUNDS + 1):
            for name, wanted in ((BASELINE, packaged_baseline().digest), (MODEL, digest)):
                seconds, of_api = measure(one, client, wanted)
                # The first turn warms up.
                if turn:
                    took[name] += seconds
                    cpu[name].append(of_api)
                if name == BASELINE:
                    registry.promote(digest, "benchmark")
                else:
                    registry.roll_back("benchmark")
    figures: dict[str, Any] = {}
    for name in (BASELINE, MODEL):
        of = spread(took[name])
        figures |= {f"{name}: p50, ms": of.p50, f"{name}: p99, ms": of.p99}
        figures[f"{name}: CPU µs of the API an answer"] = sum(cpu[name]) / len(cpu[name]) * 1e6
    model, baseline = spread(took[MODEL]), spread(took[BASELINE])
    figures |= {"model / baseline, p50": model.p50 / baseline.p50, "model / baseline, p99": model.p99 / baseline.p99}
    report("eta_model_http", figures, {"model / baseline, p50": at_most(1.2), "model / baseline, p99": at_most(1.2)})


if __name__ == "__main__":
    main()
