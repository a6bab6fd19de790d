"""deploy/compose.yml and its Dockerfile, compared with the code: all that can be checked without a container engine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from infrastructure.cli.serve import parse_only
from infrastructure.settings.settings import Settings
from infrastructure.settings.tokens import ROLES, short_tokens_warning
from tests.support.servers.serving import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("ridelog:")}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]+\}")


def instructions(name: str) -> list[str]:
    """Their arguments, in order, over both stages."""
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    return [line[len(name) :].strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_and_a_port_is_open_to_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?", service["image"])
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", []))
    assert "network_mode" not in service
    assert not service.get("privileged")


def test_our_parts_are_all_of_them_and_each_is_a_command_that_exists() -> None:
    assert OURS["migrate"]["command"] == ["migrate"]
    run = {name: service["command"] for name, service in OURS.items() if name != "migrate"}
    assert all(command[:2] == ["serve", "--only"] for command in run.values())
    assert {parse_only(command[2]) for command in run.values()} == {("api",), ("tailer",), ("projections",), ("city",)}
    assert OURS["tailer-standby"]["profiles"] == ["standby"]


def test_payments_are_a_part_of_their_own_that_alone_has_the_secret_of_the_provider() -> None:
    (payments,) = yaml.safe_load((DEPLOY / "payments.yml").read_text())["services"].values()
    assert payments.pop("extends") == {"file": "compose.yml", "service": "city"}
    assert parse_only(payments["command"][2]) == ("payments",)
    given = {key: VARIABLE.sub(r"https://secret-of-\1", value) for key, value in payments["environment"].items()}
    base = {
        key: VARIABLE.sub(r"secret-of-\1_with_32_characters", value)
        for key, value in OURS["city"]["environment"].items()
    }
    settings = Settings.load(env=base | given, toml=None)
    assert settings.payments_url == "https://secret-of-PAYMENTS_URL"
    assert not any("PAYMENTS" in key for service in SERVICES.values() for key in service.get("environment", {}))


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_service_is_one_and_fits(name: str) -> None:
    env = {
        key: VARIABLE.sub(r"secret-of-\1_with_32_characters", value) for key, value in OURS[name]["environment"].items()
    }
    assert all(key.startswith("RIDELOG_") for key in env)
    settings = Settings.load(env=env, toml=None)
    urls = [url for url in (settings.postgres_url, settings.redis_url, settings.kafka_bootstrap) if url is not None]
    # A name in a URL is a service of this file, and each wants a password.
    hosts = re.findall(r"//[\w-]*:secret-of-\w+@(\w[\w-]*):\d+", " ".join(urls))
    assert hosts == (["postgres"] if name == "migrate" else ["postgres", "valkey", "kafka"])


def test_a_service_has_the_tokens_and_the_passwords_that_it_needs_and_no_others() -> None:
    roles: dict[str, set[str]] = {}
    for name, service in OURS.items():
        env = {
            key: VARIABLE.sub(r"secret-of-\1_with_32_characters", value)
            for key, value in service["environment"].items()
        }
        settings = Settings.load(env=env, toml=None)
        roles[name] = {role for of_token in settings.parsed_tokens().values() for role in of_token}
        assert short_tokens_warning(settings.parsed_tokens()) is None
        login = re.match(r"postgresql://(\w+):", settings.postgres_url or "")
        assert login is not None
        assert login[1] == ("ridelog_tailer" if name.startswith("tailer") else "ridelog")
        assert ("POSTGRES_TAILER_PASSWORD" in str(service)) == name.startswith("tailer")
    assert roles.pop("api") == set(ROLES)
    assert roles.pop("migrate") == set()
    assert set(map(frozenset, roles.values())) == {frozenset({"metrics"})}
    for name, service in SERVICES.items():
        if name not in OURS:
            assert "_TOKEN" not in str(service).replace("metrics_token", "") or name == "prometheus"
    assert "POSTGRES_SUPERUSER_PASSWORD" not in str(list(OURS.values()))


def test_regression_customers_links_outlive_the_container_of_the_api() -> None:
    """The secret that signs them was made in its data directory, which `docker compose down` removes."""
    assert OURS["api"]["environment"]["RIDELOG_LINK_KEY"].startswith("${LINK_KEY:?")
    assert [name for name, service in OURS.items() if "RIDELOG_LINK_KEY" in service["environment"]] == ["api"]


def test_no_server_is_open_without_a_password() -> None:
    assert "--requirepass ${VALKEY_PASSWORD:" in " ".join(SERVICES["valkey"]["command"])
    env = SERVICES["kafka"]["environment"]
    protocols = dict(one.split(":") for one in env["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    listeners = dict(one.split("://") for one in env["KAFKA_LISTENERS"].split(","))
    open_ones = {name for name, protocol in protocols.items() if protocol == "PLAINTEXT"}
    assert {name for name, bound in listeners.items() if bound.startswith("localhost:")} == open_ones
    assert protocols["CLIENTS"] == "SASL_PLAINTEXT"
    assert 'user_ridelog="${KAFKA_PASSWORD:' in env["KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG"]
    assert "POSTGRES_USER" not in SERVICES["postgres"]["environment"]
    assert "POSTGRES_HOST_AUTH_METHOD" not in SERVICES["postgres"]["environment"]


def test_secrets_come_from_outside_and_must_be_there() -> None:
    text = (DEPLOY / "compose.yml").read_text()
    example = dict(line.split("=", 1) for line in (DEPLOY / ".env.example").read_text().splitlines() if line[0] != "#")
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked == set(VARIABLE.findall(text))
    given = {secret["environment"] for secret in COMPOSE["secrets"].values()}
    assert asked | given == set(example)
    assert set(example.values()) == {""}
    assert "deploy/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                assert key.endswith("_FILE")
                assert Path(value).name in service["secrets"]


def test_what_is_mounted_is_there() -> None:
    mounts = [volume.split(":") for service in SERVICES.values() for volume in service.get("volumes", [])]
    for source, *_ in mounts:
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    assert {source for source, *_ in mounts if not source.startswith(".")} == set(COMPOSE["volumes"])


def test_the_servers_are_set_as_ridelog_needs_them() -> None:
    assert {"wal_level=logical", "max_slot_wal_keep_size=10GB"} <= set(SERVICES["postgres"]["command"])
    valkey = " ".join(SERVICES["valkey"]["command"])
    assert "--maxmemory-policy noeviction" in valkey
    assert "--appendonly yes" in valkey
    pom = (DEPLOY / "kafka" / "pom.xml").read_text()
    tested = re.search(r"<kafka.version>(.+)</kafka.version>", pom)
    assert tested is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_prometheus_asks_every_part_with_a_token_that_opens_nothing_else() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "ridelog"
    asked = {name for source in job["dns_sd_configs"] for name in source["names"]}
    assert asked == set(OURS) - {"migrate"} | {"payments"}
    assert {source["port"] for source in job["dns_sd_configs"]} == {int(OURS["api"]["environment"]["RIDELOG_PORT"])}
    secret = Path(job["authorization"]["credentials_file"]).name
    assert secret in SERVICES["prometheus"]["secrets"]
    for name in asked - {"payments"}:
        assert f"metrics=${{{COMPOSE['secrets'][secret]['environment']}:" in OURS[name]["environment"]["RIDELOG_TOKENS"]


def test_the_image_runs_as_nobody_special_shows_its_health_and_holds_no_secret() -> None:
    (python,) = instructions("ARG")
    assert re.fullmatch(r"PYTHON=python:3\.12\.\d+-slim-\w+", python)
    assert len(instructions("FROM")) == 2
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instructions("USER")[-1])
    health = instructions("HEALTHCHECK")[0]
    assert "http://127.0.0.1:8000/health/ready" in health
    assert not re.search(r"TOKEN|PASSWORD|SECRET", DOCKERFILE)
    env = dict(part.split("=", 1) for line in instructions("ENV") for part in line.split())
    known = {f"RIDELOG_{name.upper()}" for name in Settings.descriptions()}
    assert {name for name in env if name.startswith("RIDELOG_")} <= known
    assert env["RIDELOG_PORT"] == "8000"


def test_the_image_holds_every_package_and_the_context_nothing_else() -> None:
    local = [line for line in instructions("COPY") if not line.startswith("--from")]
    sources = {source for line in local for source in line.split()[:-1]}
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]}
    assert packages | modules | {"alembic"} <= sources
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == sources


def test_the_image_gets_what_runs_and_not_what_tests() -> None:
    done = subprocess.run(
        [sys.executable, DEPLOY / "runtime_requirements.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.split("\n")[:-1] == project["dependencies"]
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    wanted = {re.split(r"[<>=;!~ ]", line)[0] for line in project["dependencies"]}
    assert set(map(_normal, wanted)) <= set(map(_normal, locked))


def _normal(name: str) -> str:
    """As pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
