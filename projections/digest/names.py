"""Resolves the names in a module's source to definitions of this project and to foreign names."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple


class UntraceableDefinition(Exception):
    """The code of a definition cannot be found in a source file, so a change of it would go unnoticed."""


class Definition(NamedTuple):
    """A name at the top of a module of this project."""

    module: str
    name: str


@dataclass(frozen=True)
class ImportedModule:
    """An imported module, as a name may be bound to one."""

    name: str


@dataclass(frozen=True)
class ForeignName:
    """A name outside this project, by its qualified name."""

    name: str


@dataclass(frozen=True)
class ImportedName:
    """A name that a module imports from another one. Resolved on use, since modules may import each other."""

    module: str
    name: str


Target = Definition | ImportedModule | ForeignName
Bound = Target | ImportedName
LOCAL = None
"""The target of a name that is a local variable of a function."""
Scope = Mapping[str, Bound | None]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))


# Where a name comes from


def target_of(node: ast.expr, module: str, scopes: list[Scope]) -> Target | None:
    """What a name or a dotted name means; None for variables, and for attributes of values."""
    if isinstance(node, ast.Name):
        for scope in reversed(scopes):
            if node.id in scope:
                return _followed(scope[node.id])
        if node.id in bindings(module):
            return resolved(Definition(module, node.id))
        return ForeignName(f"builtins.{node.id}") if hasattr(builtins, node.id) else None
    if isinstance(node, ast.Attribute):
        owner = target_of(node.value, module, scopes)
        if isinstance(owner, ImportedModule):
            return _member(owner.name, node.attr)
        if isinstance(owner, ForeignName):
            return ForeignName(f"{owner.name}.{node.attr}")
    return None


def resolved(definition: Definition) -> Target:
    """Follows imports to the module that defines the name."""
    (first, *_) = bindings(definition.module)[definition.name]
    return definition if isinstance(first, ast.stmt) else _followed(first) or definition


def _followed(bound: Bound | None) -> Target | None:
    return _member(bound.module, bound.name) if isinstance(bound, ImportedName) else bound


def _member(module: str, name: str) -> Target:
    if not is_project(module):
        return ForeignName(f"{module}.{name}")
    if name in bindings(module):
        return resolved(Definition(module, name))
    return ImportedModule(f"{module}.{name}")


def is_project(module: str) -> bool:
    return _is_project(module.partition(".")[0])


@cache
def _is_project(top: str) -> bool:
    if top in sys.stdlib_module_names:
        return False
    spec = importlib.util.find_spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    files = [Path(place).resolve() for place in places if place and place not in {"built-in", "frozen"}]
    return bool(files) and not any(file.is_relative_to(root) for file in files for root in _INSTALLED)


# What a module defines


_captured: dict[str, str] = {}


def capture_sources() -> None:
    """Read the sources of this project's modules that are loaded now, for digests that are computed later or never.

    The files of a running service may be replaced, but it folds with the code that it loaded.
    """
    for name, module in list(sys.modules.items()):
        if getattr(module, "__spec__", None) is None:
            # The program itself, when it was started as a file: no fold is defined in it.
            continue
        file = getattr(module, "__file__", None)
        if name not in _captured and file and file.endswith(".py") and is_project(name):
            _captured[name] = Path(file).read_text(encoding="utf-8")


@cache
def _source(module: str) -> ast.Module:
    if module in _captured:
        return ast.parse(_captured[module])
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UntraceableDefinition(f"{module} has no source file: its code cannot be pinned")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


@cache
def bindings(module: str) -> dict[str, list[ast.stmt | Bound]]:
    """Names at the top of a module: the statements that bind each, or where it is imported from."""
    found: dict[str, list[ast.stmt | Bound]] = {}
    for statement in _flat(_source(module).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, target in _imported(statement, module).items():
                found.setdefault(name, []).append(target)
        else:
            for name in _names_bound(statement):
                found.setdefault(name, []).append(statement)
    return found


def statements_of(definition: Definition) -> list[ast.stmt]:
    bound = bindings(definition.module)[definition.name]
    return [each for each in bound if isinstance(each, ast.stmt)]


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top of a module, those inside its ``if``, ``try`` and ``with`` blocks too."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for name in ("body", "orelse", "finalbody"):
                yield from _flat(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from _flat(handler.body)
        else:
            yield statement


def _imported(node: ast.Import | ast.ImportFrom, module: str) -> dict[str, Bound]:
    if isinstance(node, ast.Import):
        names = [alias.name if alias.asname else alias.name.partition(".")[0] for alias in node.names]
        return {alias.asname or name: ImportedModule(name) for alias, name in zip(node.names, names, strict=True)}
    origin = node.module or ""
    if node.level:
        origin = importlib.util.resolve_name("." * node.level + origin, module.rpartition(".")[0])
    if any(alias.name == "*" for alias in node.names) and is_project(origin):
        raise UntraceableDefinition(f"{module} imports * from {origin}: name what is imported")
    return {alias.asname or alias.name: ImportedName(origin, alias.name) for alias in node.names}


def _names_bound(node: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its own scope."""
    if isinstance(node, FunctionNode | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node.id
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    for child in ast.iter_child_nodes(node):
        yield from _names_bound(child)


# Scopes inside a definition


def scopes_of_field(node: ast.AST, field: str, scopes: list[Scope]) -> list[Scope]:
    """The scopes in which the names of one field of ``node`` are looked up."""
    if isinstance(node, FunctionNode | ast.Lambda) and field == "body":
        # The names of a class body are not seen by its methods.
        return [*(scope for scope in scopes if not isinstance(scope, _ClassScope)), _function_scope(node)]
    if isinstance(node, ast.ClassDef) and field == "body":
        return [*scopes, _ClassScope(dict.fromkeys(_bound_in(node.body), LOCAL))]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [*scopes, dict.fromkeys((n for g in node.generators for n in _names_bound(g.target)), LOCAL)]
    return scopes


class _ClassScope(dict[str, Bound | None]):
    """Names of a class body."""


def _function_scope(node: FunctionNode | ast.Lambda) -> Scope:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    scope: dict[str, Bound | None] = dict.fromkeys((a.arg for a in every if a), LOCAL)
    if not isinstance(node, ast.Lambda):
        scope.update(dict.fromkeys(_bound_in(node.body), LOCAL))
        for each in ast.walk(node):
            if isinstance(each, ast.Import | ast.ImportFrom):
                scope.update(_imported(each, ""))
            elif isinstance(each, ast.Global):
                for name in each.names:
                    scope.pop(name, None)
    return scope


def _bound_in(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        yield from _names_bound(statement)
