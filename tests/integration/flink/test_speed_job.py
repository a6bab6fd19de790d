"""The speed projection on a session cluster: a TaskManager is killed, and runner and Flink change places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from domain.identifiers import SHARDS
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.flink.rebuild_fill import FoldOnFlink
from infrastructure.kafka.topics import ensure_topics
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.operations.rebuild import rebuilding
from infrastructure.redis.connection import connect_server
from infrastructure.replay.log_export import export_log
from infrastructure.settings.settings import Settings
from infrastructure.status.flink_line import flink_ready
from projections.rebuild.rebuild_outcome import RebuildVerdict
from projections.speed import SPEED
from tests.support.servers.flink_cluster import JobManager, TaskManager, missing_environment
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_world import PublishedLog
from tests.support.worlds.projection_setup import Projected

WITHIN_S = 100.0
"""On a quiet machine a job starts within 20 s, and is restored within 15 s."""


@pytest.fixture(scope="module")
def jobmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobManager]:
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    with running(JobManager(tmp_path_factory.mktemp("flink"))) as one:
        yield one


@pytest.fixture
def flink_settings(settings: Settings, apache_bootstrap: str, jobmanager: JobManager) -> Settings:
    found = msgspec.structs.replace(
        settings, kafka_bootstrap=apache_bootstrap, flink_url=jobmanager.url, flink_checkpoint_ms=2_000
    )
    ensure_topics(found)
    return found


@pytest.fixture
def log(flink_settings: Settings) -> Iterator[PublishedLog]:
    one = PublishedLog(flink_settings, riders=400)
    yield one
    one.close()


def test_runner_and_flink_change_places_and_a_killed_taskmanager_loses_and_doubles_nothing(
    flink_settings: Settings, jobmanager: JobManager, log: PublishedLog, tmp_path: Path
) -> None:
    # Given a generation that the runner has begun
    log.publish(2_000)
    log.backends.generations.first(SPEED)
    with closing(connect_server(flink_settings.redis_url or "")) as client:
        runner = Projected(flink_settings, client, 1)
        runner.until_applied(2_000)
        runner.close()
    # When Flink goes on, and its TaskManager is killed while records come
    cluster = FlinkCluster(jobmanager.url, flink_settings.topic_prefix, timeout_s=10.0)
    client_ = FlinkClient(FlinkEnvironment(ROOT / FOLDER), jobmanager.url, ROOT)
    workers = [TaskManager(tmp_path, jobmanager, n, flink_settings.environment(), slots=3) for n in (1, 2)]
    with running(workers[0]):
        job_id = client_.submit(Submission(SPEED.name, parallelism=2), flink_settings.environment())
        eventually(lambda: log.shards_held(SPEED.name) == SHARDS, within_s=WITHIN_S, what="the job holds all shards")
        assert log.stored(SPEED) == log.folded(SPEED)
        # And its workers write a line in their log, which Flink's own log has
        log.publish_foreign()
        eventually(lambda: _logged(tmp_path, "record skipped"), within_s=WITHIN_S, what="the foreign record is logged")
        log.publish(6_000)
        eventually(lambda: log.counted(SPEED.name, "applied") > 0, within_s=WITHIN_S, what="Flink folds records")
        workers[0].kill()
    log.publish(6_000)
    with running(workers[1]):
        eventually(lambda: log.behind(SPEED) == 0, within_s=WITHIN_S, what="the job is restored and caught up")
        # Then nothing is lost or doubled, and the cluster says what happened
        assert log.stored(SPEED) == log.folded(SPEED)
        eventually(lambda: _restarted(cluster), within_s=WITHIN_S, what="the cluster counts the restart")
        assert flink_ready(cluster.jobs()) == "ok"
        assert Path(cluster.savepoint(job_id, (tmp_path / "saved").as_uri()).removeprefix("file:")).is_dir()
        # And a rebuild is filled by the cluster from an export of the log, while the job follows both generations
        export_log(log.backends, tmp_path / "export", lambda done, of: None)
        settings = flink_settings.environment()
        fill = FoldOnFlink(client_, cluster, settings, SPEED.name, parallelism=1, export=tmp_path / "export").fill
        notes: list[str] = []
        with rebuilding(
            flink_settings,
            SPEED,
            workers=1,
            on_progress=lambda done, of: None,
            on_note=notes.append,
            fill_elsewhere=fill,
        ) as rebuild:
            outcome = rebuild.run()
        assert outcome.verdict is RebuildVerdict.SWITCHED, notes
        new = outcome.new.number
        log.publish(4_000)
        eventually(lambda: log.behind(SPEED, new) == 0, within_s=WITHIN_S, what="the job follows the new generation")
        assert log.stored(SPEED, new) == log.folded(SPEED)
        cluster.cancel(job_id)
        eventually(lambda: _ended(cluster), within_s=WITHIN_S, what="the job is cancelled")
    # And the runner goes on where Flink ended
    log.publish(4_000)
    with closing(connect_server(flink_settings.redis_url or "")) as client:
        runner = Projected(flink_settings, client, new)
        runner.until_applied(4_000)
        runner.close()
    assert log.stored(SPEED, new) == log.folded(SPEED)


def _logged(folder: Path, text: str) -> bool:
    """Whether the log of a TaskManager has the text."""
    return any(text in file.read_text(encoding="utf-8", errors="replace") for file in folder.rglob("*taskmanager*.log"))


def _restarted(cluster: FlinkCluster) -> bool:
    """Flink reads its own metrics every ten seconds."""
    job = cluster.job(SPEED.name)
    return job is not None and job.restarts >= 1


def _ended(cluster: FlinkCluster) -> bool:
    job = cluster.job(SPEED.name)
    return job is not None and job.state == "CANCELED"
