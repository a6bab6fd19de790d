"""What a Flink cluster says of its jobs, over its REST interface: states, restarts, checkpoints. Also stops jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import httpx
import msgspec

from infrastructure.errors import UserError
from infrastructure.observability.flink_failures import reason_of
from infrastructure.settings.addresses import http_address
from projections.catalogue import PROJECTIONS

JOB_PREFIX = "ridelog-"
REBUILD_PREFIX = "rebuild "
"""Starts the name of a bounded job that fills a generation."""
PARTS_PREFIX = "parts "
"""Starts the name of a bounded job that makes parts of a file; its folder follows."""
REQUEST_TIMEOUT_S = 2.0
"""`status`, health and metrics ask while others wait: a cluster that does not answer must not hold them up."""
SAVEPOINT_TIMEOUT_S = 120.0
SAVEPOINT_POLL_INTERVAL_S = 0.2
STATES_OF_A_RUNNING_JOB = frozenset({"INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING", "CANCELLING"})
_ENDING = frozenset({"FAILING", "CANCELLING"})
_FAILED = frozenset({"RESTARTING", "FAILING", "FAILED"})
"""States of a job that has a reason not to run."""

T = TypeVar("T")


class ClusterUnavailable(UserError):
    """The cluster does not answer, or rejects a request."""


class FlinkJob(msgspec.Struct):
    """The newest job of one projection.

    ``restarts``: since it was submitted. ``checkpoint_age_s``: since its last completed checkpoint, None without one;
    ``checkpoint``: where that is stored. ``reason``: why it does not run, "" if it runs or was cancelled.
    """

    projection: str
    job_id: str
    state: str
    started_ms: int
    restarts: int = 0
    checkpoint_age_s: float | None = None
    checkpoint: str = ""
    reason: str = ""

    @property
    def runs(self) -> bool:
        return self.state == "RUNNING"

    @property
    def goes_on(self) -> bool:
        """Whether it runs, or will by itself: beside a job that Flink restarts, a second one folds everything twice."""
        return self.state in STATES_OF_A_RUNNING_JOB - _ENDING


class FillJob(msgspec.Struct):
    """A running job that fills a generation for a rebuild; ``generation`` as ``speed@2``."""

    generation: str
    job_id: str
    state: str


class PartsJob(msgspec.Struct):
    """A running job that makes parts of a history or of a training set; ``folder`` is where it writes them."""

    folder: str
    job_id: str
    state: str


class _Listed(msgspec.Struct):
    jid: str
    name: str
    state: str
    started_ms: int = msgspec.field(name="start-time", default=0)


class _State(msgspec.Struct):
    state: str


class _Overview(msgspec.Struct):
    jobs: list[_Listed]


class _Completed(msgspec.Struct):
    latest_ack_timestamp: int
    external_path: str = ""


class _Latest(msgspec.Struct):
    completed: _Completed | None = None


class _Checkpoints(msgspec.Struct):
    latest: _Latest


class _Metric(msgspec.Struct):
    id: str
    value: str


class _Failure(msgspec.Struct):
    stacktrace: str = ""


class _Failures(msgspec.Struct):
    entries: list[_Failure] = []


class _Exceptions(msgspec.Struct):
    history: _Failures = msgspec.field(name="exceptionHistory", default_factory=_Failures)


class _Trigger(msgspec.Struct):
    request_id: str = msgspec.field(name="request-id")


class _Status(msgspec.Struct):
    id: str


class _Savepoint(msgspec.Struct):
    status: _Status
    operation: dict[str, Any] | None = None  # while it is in progress


class FlinkCluster:
    """The REST interface at ``url``. ``prefix`` starts the names of this installation's jobs, after JOB_PREFIX."""

    def __init__(
        self, url: str, prefix: str = "", timeout_s: float = REQUEST_TIMEOUT_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url.rstrip("/")
        self._shown = http_address(url).shown
        self._prefix = JOB_PREFIX + prefix
        self._fill_prefix = REBUILD_PREFIX + prefix
        self._parts_prefix = PARTS_PREFIX + prefix
        self._timeout_s = timeout_s
        self._clock = clock

    def states(self) -> list[FlinkJob]:
        """The newest job of each projection that was ever submitted, by name. Raises ClusterUnavailable.

        In one request, and so without restarts and checkpoints. A job of another installation may start alike:
        `ridelog-berlin-speed` is none of the installation without a prefix.
        """
        with self._client() as client:
            return self._newest(client)

    def jobs(self) -> list[FlinkJob]:
        """As ``states``, with restarts, checkpoints and reasons: up to three more requests a job.

        Raises ClusterUnavailable.
        """
        with self._client() as client:
            return [self._described(client, job) for job in self._newest(client)]

    def job(self, projection: str) -> FlinkJob | None:
        """The newest job of the projection. Raises ClusterUnavailable."""
        with self._client() as client:
            found = next((job for job in self._newest(client) if job.projection == projection), None)
            return None if found is None else self._described(client, found)

    def fills(self, projection: str | None = None) -> list[FillJob]:
        """The running jobs that fill generations of the projection, or of all. Raises ClusterUnavailable.

        Only the command that submitted one ends it early: after a kill -9 of that command the job goes on.
        """
        found: list[FillJob] = []
        for generation, job in self._running(self._fill_prefix):
            name = generation.partition("@")[0]
            if name in PROJECTIONS and projection in (None, name):
                found.append(FillJob(generation, job.jid, job.state))
        return found

    def part_jobs(self, folder: str | None = None) -> list[PartsJob]:
        """The running jobs that make parts in the folder, or in all. Raises ClusterUnavailable.

        As those that fill generations, they go on after a kill -9 of their command.
        """
        found = [PartsJob(name, job.jid, job.state) for name, job in self._running(self._parts_prefix)]
        return [job for job in found if folder in (None, job.folder)]

    def failure(self, job_id: str) -> str:
        """The stack trace of what made the job fail, "" if nothing has. Raises ClusterUnavailable."""
        with self._client() as client:
            found = self._get(client, f"/jobs/{job_id}/exceptions", _Exceptions).history.entries
        return found[0].stacktrace if found else ""

    def state(self, job_id: str) -> str:
        """The state of one job. Raises ClusterUnavailable."""
        with self._client() as client:
            return self._get(client, f"/jobs/{job_id}", _State).state

    def cancel(self, job_id: str) -> None:
        """Cancel the job. Its fences are in the stores, so nothing is lost. Raises ClusterUnavailable."""
        with self._client() as client:
            self._request(client, "PATCH", f"/jobs/{job_id}", params={"mode": "cancel"})

    def savepoint(self, job_id: str, folder: str | None) -> str:
        """Take a savepoint and return where it is. ``folder``: None for the cluster's. Raises ClusterUnavailable."""
        body = {"cancel-job": False, **({} if folder is None else {"target-directory": folder})}
        with self._client() as client:
            trigger = self._decoded(self._request(client, "POST", f"/jobs/{job_id}/savepoints", json=body), _Trigger)
            deadline = time.monotonic() + SAVEPOINT_TIMEOUT_S
            while time.monotonic() < deadline:
                found = self._get(client, f"/jobs/{job_id}/savepoints/{trigger.request_id}", _Savepoint)
                if found.status.id == "COMPLETED":
                    return _place_of(found)
                time.sleep(SAVEPOINT_POLL_INTERVAL_S)
        raise ClusterUnavailable(f"the savepoint is not complete after {SAVEPOINT_TIMEOUT_S:.0f} s")

    def _newest(self, client: httpx.Client) -> list[FlinkJob]:
        newest: dict[str, FlinkJob] = {}
        for job in sorted(self._get(client, "/jobs/overview", _Overview).jobs, key=_by_life):
            name = job.name.removeprefix(self._prefix)
            if name != job.name and name in PROJECTIONS:
                newest[name] = FlinkJob(name, job.jid, job.state, job.started_ms)
        return [newest[name] for name in sorted(newest)]

    def _running(self, prefix: str) -> list[tuple[str, _Listed]]:
        """The running jobs whose names start with ``prefix``, each with the rest of its name."""
        with self._client() as client:
            listed = self._get(client, "/jobs/overview", _Overview).jobs
        return [
            (job.name.removeprefix(prefix), job)
            for job in listed
            if job.name.startswith(prefix) and job.state in STATES_OF_A_RUNNING_JOB
        ]

    def _described(self, client: httpx.Client, job: FlinkJob) -> FlinkJob:
        if job.state in _FAILED:
            # The list may name an ended job whose failure the cluster has forgotten. Its state is shown all the same.
            with suppress(ClusterUnavailable):
                job.reason = reason_of(trace) if (trace := self.failure(job.job_id)) else ""
        if job.state not in STATES_OF_A_RUNNING_JOB:
            return job
        done = self._get(client, f"/jobs/{job.job_id}/checkpoints", _Checkpoints).latest.completed
        if done is not None:
            job.checkpoint_age_s = max(0.0, self._clock() - done.latest_ack_timestamp / 1000)
            job.checkpoint = done.external_path
        metrics = self._get(client, f"/jobs/{job.job_id}/metrics?get=numRestarts", list[_Metric])
        job.restarts = sum(int(float(metric.value)) for metric in metrics if metric.id == "numRestarts")
        return job

    def _client(self) -> httpx.Client:
        # One for all requests of a call: each client of its own loads the certificates, 20 ms of CPU.
        return httpx.Client(timeout=self._timeout_s, trust_env=False, verify=not self._url.startswith("http:"))

    def _get(self, client: httpx.Client, path: str, kind: type[T]) -> T:
        return self._decoded(self._request(client, "GET", path), kind)

    def _decoded(self, answer: httpx.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"{self._shown} gave an answer that is not Flink's: {error}") from error

    def _request(self, client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = client.request(method, f"{self._url}{path}", **options)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise ClusterUnavailable(f"{self._shown} answered {error.response.status_code} to {path}") from error
        except httpx.HTTPError as error:
            raise ClusterUnavailable(f"{self._shown} does not answer: {error}") from error
        return answer


def cluster_of(url: str | None, prefix: str) -> FlinkCluster | None:
    """The cluster that the settings name, None if they name none."""
    return None if url is None else FlinkCluster(url, prefix)


def _by_life(job: _Listed) -> tuple[bool, int]:
    """Sorts a running job after ended ones, and a later one after an earlier one."""
    return job.state in STATES_OF_A_RUNNING_JOB, job.started_ms


def _place_of(savepoint: _Savepoint) -> str:
    """Where a completed savepoint is. Raises ClusterUnavailable if it failed."""
    done = savepoint.operation or {}
    if (place := done.get("location")) is not None:
        return str(place)
    cause = str(done.get("failure-cause", {}).get("class", "no reason given"))
    raise ClusterUnavailable(f"the savepoint failed: {cause}")
