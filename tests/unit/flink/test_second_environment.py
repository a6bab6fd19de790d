"""What a Python worker of a job imports is there in the second environment, and gives the same digests."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from projections.catalogue import PROJECTIONS
from projections.digest.digest import fold_digest
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s

LOCK = ROOT / "deploy" / "flink" / "requirements.lock"
SHARED = (
    "SQLAlchemy",
    "msgspec",
    "psycopg2-binary",
    "confluent-kafka",
    "h3",
    "fastavro",
    "hiredis",
    "tzdata",
    "eventsourcing",
    "avro",
)
"""Packages that decide what is decoded, folded or stored: one version in both environments."""


def locked(path: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


@pytest.fixture(scope="module")
def python() -> Path:
    environment = FlinkEnvironment(ROOT / FOLDER)
    if (lacking := environment.missing()) is not None:
        pytest.skip(lacking)
    return environment.python


def run(python: Path, program: str) -> str:
    done = subprocess.run(
        [python, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=scaled_s(60), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules(*rooms: str) -> list[str]:
    files = [file for room in rooms for file in sorted((ROOT / room).rglob("*.py"))]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def test_pure_rooms_and_the_job_are_imported_there(python: Path) -> None:
    names = modules("domain", "read_models", "projections", "infrastructure/flink")
    run(python, f"import importlib\nfor name in {names!r}: importlib.import_module(name)")


def test_the_digests_of_all_folds_are_the_same_there(python: Path) -> None:
    program = (
        "import json\nfrom projections.catalogue import PROJECTIONS\n"
        "from projections.digest.digest import fold_digest\n"
        "print(json.dumps({name: fold_digest(one) for name, one in PROJECTIONS.items()}))"
    )
    assert json.loads(run(python, program)) == {name: fold_digest(one) for name, one in PROJECTIONS.items()}


@pytest.mark.parametrize("package", SHARED)
def test_both_environments_have_one_version_of_what_decides_bytes(package: str) -> None:
    name = package.lower()
    assert locked(LOCK)[name] == locked(ROOT / "requirements.lock")[name]


def test_the_lock_names_no_index_and_the_makefile_excepts_the_four_sources() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    assert {"crcmod", "dill", "docopt", "hdfs"} <= locked(LOCK).keys()
    assert "FLINK_SOURCES = crcmod,dill,docopt,hdfs" in (ROOT / "Makefile").read_text()


def test_a_log_line_of_a_python_worker_is_one_record_of_beam(python: Path) -> None:
    """PyFlink makes log records of what is written to standard error; a handler that writes there never ends."""
    program = """
import json, logging, sys
from apache_beam.runners.worker import sdk_worker_main
from pyflink.fn_execution.beam import beam_sdk_worker_main
from infrastructure.observability.logging import configure_in_engine

lines = []

class BeamHandler(logging.Handler):
    def emit(self, record):
        lines.append(self.format(record))

def the_worker(arguments):
    logging.getLogger().addHandler(BeamHandler())
    configure_in_engine("INFO", "text", "flink-speed")
    logging.getLogger("ridelog.projections").warning("shard reset")
    sys.stderr.write("a traceback")

sdk_worker_main.main = the_worker
beam_sdk_worker_main.main()
sys.__stdout__.buffer.write(json.dumps(lines).encode())
"""
    reset, traceback = json.loads(run(python, program))
    assert reset.endswith("WARNING flink-speed: shard reset")
    assert traceback.endswith("ERROR   flink-speed: a traceback")
