"""Finds the mutants that change only what a log line or an error says, and those of a check that cannot fail."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGING_HELPERS = frozenset({"_close", "_count_foreign", "on_progress"})
"""Methods that only log or show the text that they get."""
ORIGINAL = "orig"


class Change(NamedTuple):
    """The smallest part of a function that a mutant changes, and the statements and expressions around it."""

    before: ast.AST | None
    after: ast.AST | None
    around: tuple[ast.AST, ...]


def wording_mutants(mutated: Path) -> set[str]:
    """Names (without the module) of the mutants in a file made by mutmut that are left out.

    Such a mutant changes an argument of a logging call, or the text that a method gets to log it; or a text inside a
    ``raise`` or an ``assert``; or ``strict`` of ``zip``, which
    raises only if two lists that the caller made equally long are not. Whether a line is logged or an error raised, and
    which error, is mutated as all other code.
    """
    versions: dict[str, dict[str, ast.FunctionDef]] = {}
    for function in _functions(ast.parse(mutated.read_text(encoding="utf-8"))):
        name, marked, version = function.name.rpartition("__mutmut_")
        if marked:
            versions.setdefault(name, {})[version] = function
    found = set()
    for name, by_version in versions.items():
        original = by_version.pop(ORIGINAL)
        for version, mutant in by_version.items():
            if _is_left_out(_change(original.body, mutant.body, ())):
                found.add(f"{name}__mutmut_{version}")
    return found


def _functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            yield node


def _is_left_out(change: Change | None) -> bool:
    if change is None:
        return False
    if any(_is_log_call(node) for node in change.around) or _of_both(change, _is_log_call) or _is_strict(change):
        return True
    if any(isinstance(node, ast.Raise) for node in change.around) and any(_is_text(node) for node in change.around):
        return True
    if not _is_text(change.before) or change.after is None or not (_is_text(change.after) or _is_none(change.after)):
        return False
    return any(isinstance(node, ast.Raise | ast.Assert) or _logs_its_text(node) for node in change.around)


def _logs_its_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGGING_HELPERS


def _of_both(change: Change, check: Callable[[ast.AST], bool]) -> bool:
    """Whether the change is an argument more or less of such a call, so that the call is what differs."""
    return all(node is not None and check(node) for node in (change.before, change.after))


def _is_strict(change: Change) -> bool:
    if _of_both(change, _is_zip):
        before, after = (node.args for node in (change.before, change.after) if isinstance(node, ast.Call))
        return [ast.dump(argument) for argument in before] == [ast.dump(argument) for argument in after]
    return any(isinstance(node, ast.keyword) and node.arg == "strict" for node in change.around)


def _is_zip(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip"


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_log_call(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS):
        return False
    return isinstance(node.func.value, ast.Name) and node.func.value.id == "log"


def _change(before: object, after: object, around: tuple[ast.AST, ...]) -> Change | None:
    """Where two trees differ: one place, or the nearest node around all of them; None if they are equal."""
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
        return _one(pairs, None, None, around)
    if isinstance(before, ast.AST) and type(before) is type(after):
        fields = [(getattr(before, name, None), getattr(after, name, None)) for name in before._fields]
        return _one(fields, before, after if isinstance(after, ast.AST) else None, (*around, before))
    if isinstance(before, list | ast.AST) or isinstance(after, list | ast.AST):
        left, right = (node if isinstance(node, ast.AST) else None for node in (before, after))
        return Change(left, right, around)
    return None if before == after and type(before) is type(after) else Change(None, None, around)


def _one(
    pairs: list[tuple[object, object]], before: ast.AST | None, after: ast.AST | None, around: tuple[ast.AST, ...]
) -> Change | None:
    changes = [found for left, right in pairs if (found := _change(left, right, around)) is not None]
    if not changes:
        return None
    if len(changes) == 1 and changes[0].before is not None:
        return changes[0]
    return Change(before, after, around)
