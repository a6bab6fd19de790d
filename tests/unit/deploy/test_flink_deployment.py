"""The files of ``deploy/flink``: read as their programs read them, as far as that goes without an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infrastructure.flink.environment import CLIENT_CONF, CONF, FOLDER, LIB
from infrastructure.flink.worker_settings import NEEDED
from tests.support.servers.serving import ROOT

DEPLOY = ROOT / "deploy" / "flink"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
RESOURCE: dict[str, Any] = yaml.safe_load((DEPLOY / "session-cluster.yaml").read_text())


def flat(found: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(found, dict):
        return {prefix: str(found)}
    return {
        name: value for key, one in found.items() for name, value in flat(one, f"{prefix}.{key}".strip(".")).items()
    }


def options(name: str) -> dict[str, str]:
    return flat(yaml.safe_load((DEPLOY / name).read_text()))


def test_every_address_of_the_cluster_is_loopback() -> None:
    found = options("config.yaml")
    addresses = {name: value for name, value in found.items() if name.endswith(("host", "address"))}
    assert len(addresses) == 8
    assert set(addresses.values()) == {"127.0.0.1"}


def test_the_reporter_that_the_configuration_names_is_the_one_that_is_compiled() -> None:
    makefile, name = (ROOT / "Makefile").read_text(), options("config.yaml")["metrics.reporter.prom.factory.class"]
    assert f"REPORTER = {name}\n" in makefile
    package, _, plain = name.rpartition(".")
    source = (DEPLOY / "reporter" / f"{plain}.java").read_text()
    assert source.startswith(f"package {package};\n")
    assert f"class {plain} implements MetricReporterFactory" in source
    assert makefile.count(f"deploy/flink/reporter/{plain}.java") == 2


def test_client_and_cluster_open_the_same_modules_to_flink_and_the_client_names_no_place() -> None:
    client, cluster = options("client.yaml"), options("config.yaml")
    assert client.pop("env.java.opts.client").startswith("-XX:"), "how its own JVM compiles: nothing that a job uses"
    assert client == {"env.java.opts.all": cluster["env.java.opts.all"]}


def test_what_the_dockerfile_copies_is_there_and_sent_to_the_builder() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    sources = {part for line in lines for part in line.split()[:-1]}
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    sent = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert set(sent) == sources


@pytest.mark.parametrize("folder", [LIB, CONF, CLIENT_CONF, ".installed"])
def test_dockerfile_and_makefile_make_what_the_code_looks_for(folder: str) -> None:
    assert f"{FOLDER}/{folder}" in DOCKERFILE
    makefile = (ROOT / "Makefile").read_text()
    assert f"FLINK = {FOLDER}\n" in makefile
    assert f"$(FLINK)/{folder}" in makefile


def test_image_and_makefile_install_the_same_packages_in_the_same_way() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for text in (DOCKERFILE, makefile):
        assert "--no-deps --only-binary=:all:" in text
        assert "deploy/flink/requirements.lock" in text
    assert "--no-binary=crcmod,dill,docopt,hdfs" in DOCKERFILE


def test_the_operator_resource_is_of_the_installed_flink() -> None:
    version = re.search(r"^apache-flink==(\d+)\.(\d+)", (DEPLOY / "requirements.lock").read_text(), re.MULTILINE)
    assert version is not None
    assert RESOURCE["spec"]["flinkVersion"] == f"v{version[1]}_{version[2]}"
    assert RESOURCE["apiVersion"] == "flink.apache.org/v1beta1"


def test_the_memory_of_a_taskmanager_holds_its_python_workers() -> None:
    spec = RESOURCE["spec"]
    slots = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    overhead = int(spec["flinkConfiguration"]["taskmanager.memory.jvm-overhead.max"].removesuffix("m"))
    assert overhead >= slots * 300


def test_the_addresses_that_a_worker_needs_come_from_the_secret() -> None:
    comment = (DEPLOY / "session-cluster.yaml").read_text()
    assert all(f"RIDELOG_{name.upper()}" in comment for name in NEEDED)
    (container,) = RESOURCE["spec"]["podTemplate"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "ridelog-servers"}}]


def test_the_pods_read_the_configuration_of_the_resource_and_start_what_flink_gives_them() -> None:
    """Flink's defaults are of another image: a script that ours lacks, and a folder that its processes do not read."""
    configuration = RESOURCE["spec"]["flinkConfiguration"]
    assert f"FLINK_CONF_DIR={configuration['kubernetes.flink.conf.dir']}" in DOCKERFILE
    assert configuration["kubernetes.entry.path"] == "/usr/bin/env"


def test_what_pods_share_is_on_a_volume_that_all_of_them_mount() -> None:
    spec = RESOURCE["spec"]
    (container,) = spec["podTemplate"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = spec["podTemplate"]["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    places = [
        value for name, value in spec["flinkConfiguration"].items() if name.lower().endswith("dir") and ":" in value
    ]
    assert len(places) == 3
    assert all(place.startswith(f"file://{mount['mountPath']}/") for place in places)


def test_the_connector_is_pinned() -> None:
    assert re.search(r"<version>5\.\d+\.\d+-2\.\d+</version>", Path(DEPLOY / "pom.xml").read_text())
