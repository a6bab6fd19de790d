"""No module tests whether a value is in a range: except for plain integers that counts instead of comparing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("alembic", "benchmarks", "domain", "infrastructure", "projections", "read_models", "tests")
FILES = [ROOT / "app.py", *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")))]


def _is_range(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id == "range"


def _names_of_ranges(tree: ast.AST) -> set[str]:
    """Variables, attributes and parameters that are assigned a range or annotated as one."""
    found: set[str] = set()
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign) and _is_range(node.value):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign) and (_is_range(node.value) or _is_range(node.annotation)):
            targets = [node.target]
        elif isinstance(node, ast.arg) and _is_range(node.annotation):
            found.add(node.arg)
        found |= {one.id for one in targets if isinstance(one, ast.Name)}
        found |= {one.attr for one in targets if isinstance(one, ast.Attribute)}
    return found


def memberships(tree: ast.AST, elsewhere: set[str]) -> Iterator[int]:
    """Lines that test membership in a range. ``elsewhere``: constants of other modules that are ranges."""
    names = _names_of_ranges(tree) | elsewhere
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if not isinstance(operator, (ast.In, ast.NotIn)):
                continue
            name = right.id if isinstance(right, ast.Name) else right.attr if isinstance(right, ast.Attribute) else ""
            if _is_range(right) or name in names:
                yield node.lineno


def test_no_module_tests_membership_in_a_range() -> None:
    sources = {file: file.read_text() for file in FILES}
    # To parse all files would be most of this test: a file without the word has no range of its own.
    trees = {file: ast.parse(source) for file, source in sources.items() if "range" in source}
    constants = {name for tree in trees.values() for name in _names_of_ranges(tree) if name.isupper()}
    users = re.compile(rf"\b(?:{'|'.join(sorted(constants))})\b") if constants else re.compile(r"(?!)")
    trees |= {file: ast.parse(source) for file, source in sources.items() if file not in trees and users.search(source)}
    found = [
        f"{file.relative_to(ROOT)}:{line}" for file, tree in trees.items() for line in memberships(tree, constants)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source", ["x in range(5)", "R = range(5)\nx not in R", "def f(r: range): x in r", "class A:\n r: range\nx in a.r"]
)
def test_the_check_finds_each_form_of_membership(source: str) -> None:
    assert list(memberships(ast.parse(source), set()))
