"""The groups of partitions, and the keys by which Flink puts each on a subtask of its own."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.flink.environment import FOLDER, LIB, FlinkEnvironment
from infrastructure.flink.partition_groups import group_expression, group_keys, key_groups, subtask_of
from tests.support.servers.flink_cluster import missing_environment
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s

PARALLELISMS = (1, 2, 3, 16, 64, 100)
KEYS = 200
PRINT_SUBTASKS = f"""
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
int subtask(int key, int parallelism) {{
  var row = new BinaryRowData(1);
  var writer = new BinaryRowWriter(row);
  writer.writeInt(0, key);
  writer.complete();
  int groups = KeyGroupRangeAssignment.computeDefaultMaxParallelism(parallelism);
  return KeyGroupRangeAssignment.assignKeyToParallelOperator(row, groups, parallelism);
}}
var found = new java.util.ArrayList<Integer>();
for (int parallelism : new int[]{{{", ".join(map(str, PARALLELISMS))}}}) {{
  for (int key = 0; key < {KEYS}; key++) {{ found.add(subtask(key, parallelism)); }}
}}
System.out.println("FOUND " + found);
"""


@given(st.integers(1, 64), st.integers(1, 200))
def test_each_group_is_on_a_subtask_of_its_own(partitions: int, parallelism: int) -> None:
    keys = group_keys(partitions, parallelism)
    assert [subtask_of(key, parallelism) for key in keys] == list(range(min(partitions, parallelism)))


def test_the_partitions_are_spread_over_the_groups_in_turn() -> None:
    assert group_expression(8, 2) == "CASE MOD(`partition`, 2) WHEN 0 THEN 4 ELSE 0 END"
    assert group_expression(8, 1) == "0"


def test_there_are_never_more_groups_than_partitions() -> None:
    assert len(group_keys(8, 16)) == 8


@pytest.mark.parametrize(("parallelism", "groups"), [(1, 128), (85, 128), (86, 256), (40_000, 32_768)])
def test_the_number_of_key_groups_is_flinks_default(parallelism: int, groups: int) -> None:
    assert key_groups(parallelism) == groups


def test_flink_assigns_each_key_to_the_same_subtask() -> None:
    environment = FlinkEnvironment(ROOT / FOLDER)
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    if shutil.which("jshell") is None:
        pytest.skip("jshell not found: install the JDK 17, not the JRE alone")
    jars = ":".join(str(jar) for jar in (environment.folder / LIB).glob("*.jar"))
    found = subprocess.run(
        ["jshell", "--class-path", jars, "-"],
        input=PRINT_SUBTASKS,
        capture_output=True,
        text=True,
        timeout=scaled_s(60),
        check=True,
    )
    (line,) = [one for one in found.stdout.splitlines() if one.startswith("FOUND ")]
    wanted = [subtask_of(key, parallelism) for parallelism in PARALLELISMS for key in range(KEYS)]
    assert json.loads(line.removeprefix("FOUND ")) == wanted
