"""Submits the job of a projection through Flink's own client, which runs in the second environment."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from infrastructure.errors import UserError
from infrastructure.flink.environment import FlinkEnvironment
from infrastructure.observability.flink_failures import reason_of

SUBMIT_TIMEOUT_S = 300.0
"""Starting the client and planning the job take 15 s of CPU; a slot need not be free."""
_SUBMITTED = re.compile(r"Job has been submitted with JobID ([0-9a-f]{32})")
JOB = Path(__file__).with_name("job.py")
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "JAVA_HOME")


class Submission(NamedTuple):
    """What to submit. ``savepoint``: a savepoint or retained checkpoint to continue from; none: from the fences.

    ``program`` with its ``arguments``; by default the streaming job of the projection.
    """

    projection: str
    parallelism: int
    savepoint: str | None = None
    program: Path = JOB
    arguments: tuple[str, ...] = ()


class FlinkClient:
    """The client of one cluster. ``checkout``: the folder of this project."""

    def __init__(self, environment: FlinkEnvironment, cluster_url: str, checkout: Path) -> None:
        self._environment = environment
        self._url = cluster_url
        self._checkout = checkout

    def submit(self, submission: Submission, settings: Mapping[str, str]) -> str:
        """Submit the job, and return its id. ``settings``: the RIDELOG_* variables of the client's program.

        Raises UserError if the environment is missing, or the cluster does not take the job.
        """
        return self.submit_all(submission, settings, 1)[0]

    def submit_all(self, submission: Submission, settings: Mapping[str, str], jobs: int) -> list[str]:
        """Submit the ``jobs`` of one program, and return their ids. Raises UserError as ``submit`` does."""
        if (lacking := self._environment.missing()) is not None:
            raise UserError(lacking)
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        variables = {**kept, **self._environment.variables(self._checkout, client=True), **settings}
        try:
            done = subprocess.run(
                self.command(submission),
                env=variables,
                cwd=self._checkout,
                capture_output=True,
                text=True,
                timeout=SUBMIT_TIMEOUT_S * jobs,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            waited_s = SUBMIT_TIMEOUT_S * jobs
            raise UserError(f"Flink's client has not submitted the job after {waited_s:.0f} s") from error
        found: list[str] = _SUBMITTED.findall(done.stdout)
        if len(found) < jobs:
            which = "the job was" if jobs == 1 else f"{jobs - len(found)} of {jobs} jobs were"
            raise UserError(f"{which} not submitted: {reason_of(done.stdout + done.stderr)}")
        return found

    def command(self, submission: Submission) -> Sequence[str]:
        """The command line of Flink's client."""
        cluster = urlsplit(self._url)
        restored = () if submission.savepoint is None else ("-s", submission.savepoint)
        python = str(self._environment.python)
        return (
            *(str(self._environment.script("flink")), "run", "-d", "-t", "remote"),
            f"-Drest.address={cluster.hostname}",
            f"-Drest.port={cluster.port or 8081}",
            *restored,
            *("-p", str(submission.parallelism), "-pyclientexec", python, "-pyexec", python),
            *("-py", str(submission.program), *(submission.arguments or (submission.projection,))),
        )
