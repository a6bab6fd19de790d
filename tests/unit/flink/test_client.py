"""The command line of Flink's client, and what a person reads when it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infrastructure.errors import UserError
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.flink.environment import CLIENT_CONF, CONF, FlinkEnvironment
from infrastructure.flink.job_options import BOUNDED_OPTIONS, MAX_BOUNDED_RESTARTS, JobOptions, job_name
from infrastructure.flink.worker_settings import PKCS8, check_java_client, worker_settings
from infrastructure.operations.fill_jobs import POLL_INTERVAL_S
from infrastructure.settings.kafka_address import KafkaAddress, kafka_address
from infrastructure.settings.settings import Settings

HOME = "lib/python3.12/site-packages/pyflink"


def an_environment(folder: Path, says: str = "", code: int = 0) -> FlinkEnvironment:
    """An environment whose client prints ``says``."""
    script = folder / HOME / "bin" / "flink"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit {code}\n")
    script.chmod(0o755)
    (folder / ".installed").touch()
    return FlinkEnvironment(folder)


def a_client(folder: Path, says: str = "", code: int = 0) -> FlinkClient:
    return FlinkClient(an_environment(folder, says, code), "http://flink.example:8081", folder)


def test_the_command_names_cluster_job_projection_and_interpreter(tmp_path: Path) -> None:
    command = a_client(tmp_path).command(Submission("speed", 4, "s3://saved/1"))
    joined = " ".join(command)
    assert "-Drest.address=flink.example -Drest.port=8081" in joined
    assert "-s s3://saved/1 -p 4" in joined
    assert f"-pyexec {tmp_path}/bin/python" in joined
    assert command[-1] == "speed"


def test_the_id_of_a_submitted_job_is_returned(tmp_path: Path) -> None:
    client = a_client(tmp_path, f"Job has been submitted with JobID {'a1' * 16}")
    assert client.submit(Submission("speed", 1), {}) == "a1" * 16


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            'Traceback (most recent call last):\n  File "job.py", line 1\n'
            "projections.core.ports.ConsumerUnusable: Kafka does not answer\n"
            "Caused by: java.lang.RuntimeException: Python process exits with code: 1",
            "Kafka does not answer",
        ),
        ("org.apache.Outer: x\nCaused by: java.net.ConnectException: Connection refused", "Connection refused"),
        ("", "it gave no reason"),
    ],
)
def test_a_refused_job_says_why(tmp_path: Path, output: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        a_client(tmp_path, output, 1).submit(Submission("speed", 1), {})


def test_without_the_environment_a_person_reads_what_to_run(tmp_path: Path) -> None:
    client = FlinkClient(FlinkEnvironment(tmp_path / "none"), "http://127.0.0.1:8081", tmp_path)
    with pytest.raises(UserError, match="run `make flink`"):
        client.submit(Submission("speed", 1), {})


def test_the_configuration_of_the_client_is_not_that_of_the_cluster(tmp_path: Path) -> None:
    """What the client's file says becomes part of a job: a checkpoint folder of this machine, for example."""
    environment = an_environment(tmp_path)
    assert environment.variables(tmp_path)["FLINK_CONF_DIR"].endswith(CONF)
    assert environment.variables(tmp_path, client=True)["FLINK_CONF_DIR"].endswith(CLIENT_CONF)


def test_options_and_name_follow_the_settings() -> None:
    settings = Settings(topic_prefix="berlin.", flink_bundle_ms=7, flink_checkpoint_ms=2_000)
    options = JobOptions.of(settings).flink()
    assert options["python.execution-mode"] == "process"
    assert options["python.fn-execution.bundle.time"] == "7"
    assert options["execution.checkpointing.interval"] == "2000 ms"
    assert job_name(settings, "speed") == "ridelog-berlin.speed"


def test_a_worker_names_the_addresses_that_its_taskmanager_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RIDELOG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RIDELOG_POSTGRES_URL", "postgresql://h/ridelog")
    with pytest.raises(UserError, match="RIDELOG_REDIS_URL, RIDELOG_KAFKA_BOOTSTRAP"):
        worker_settings(8)
    monkeypatch.setenv("RIDELOG_REDIS_URL", "redis://h/0")
    monkeypatch.setenv("RIDELOG_KAFKA_BOOTSTRAP", "h:9092")
    assert worker_settings(32).topic_partitions == 32


CERTIFIED = kafka_address("ssl://h:9093?cafile=/ca.pem&certfile=/one.pem&keyfile=/one.key")
SASL = kafka_address("sasl_ssl://user:secret@h:9092?mechanism=PLAIN")
PKCS8_KEY = f"{PKCS8}\nabc\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("address", "environment", "message"),
    [
        (SASL, {"KAFKA_USERNAME": "user"}, "lacks KAFKA_PASSWORD: "),
        (SASL, {}, "lacks KAFKA_PASSWORD, KAFKA_USERNAME: "),
        (CERTIFIED, {}, "lacks KAFKA_CLIENT_KEY: "),
        (CERTIFIED, {"KAFKA_CLIENT_KEY": ""}, "lacks KAFKA_CLIENT_KEY: "),
        (CERTIFIED, {"KAFKA_CLIENT_KEY": PKCS8_KEY.replace("PRIVATE", "RSA PRIVATE")}, "no key in PKCS #8"),
    ],
)
def test_a_worker_names_what_kafkas_client_in_java_lacks(
    address: KafkaAddress, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_java_client(address, environment)


@pytest.mark.parametrize(
    ("address", "environment"),
    [
        (kafka_address("h:9092"), {}),
        (SASL, {"KAFKA_USERNAME": "user", "KAFKA_PASSWORD": "secret"}),
        (CERTIFIED, {"KAFKA_CLIENT_KEY": PKCS8_KEY}),
    ],
)
def test_a_worker_whose_environment_has_all_secrets_starts(address: KafkaAddress, environment: dict[str, str]) -> None:
    check_java_client(address, environment)


def test_a_job_that_follows_no_topic_needs_no_login_of_kafkas_client_in_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fill of a rebuild reads the event store alone; its sink has the login of RIDELOG_KAFKA_BOOTSTRAP."""
    monkeypatch.setenv("RIDELOG_POSTGRES_URL", "postgresql://h/ridelog")
    monkeypatch.setenv("RIDELOG_REDIS_URL", "redis://h/0")
    monkeypatch.setenv("RIDELOG_KAFKA_BOOTSTRAP", "sasl_ssl://user:secret@h:9092?mechanism=PLAIN")
    monkeypatch.delenv("KAFKA_PASSWORD", raising=False)
    assert worker_settings().kafka_bootstrap is not None
    with pytest.raises(UserError, match="KAFKA_PASSWORD"):
        worker_settings(8)


def test_no_job_puts_the_environment_of_its_taskmanager_into_what_beam_logs() -> None:
    for options in (JobOptions.of(Settings()).flink(), BOUNDED_OPTIONS):
        assert options["python.systemenv.enabled"] == "false"


def test_a_bounded_job_is_restarted_a_bounded_number_of_times() -> None:
    prefix = f"restart-strategy.{BOUNDED_OPTIONS['restart-strategy.type']}."
    assert int(BOUNDED_OPTIONS[f"{prefix}attempts-before-reset-backoff"]) == MAX_BOUNDED_RESTARTS
    # A poll of the command falls into each delay, so each restart is a note for the person who waits.
    assert float(BOUNDED_OPTIONS[f"{prefix}initial-backoff"].removesuffix(" s")) > 2 * POLL_INTERVAL_S
