"""Finds the definitions that compute a function, as tokens that do not depend on names and files."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class UntraceableDefinition(Exception):
    """A definition whose code cannot be found in a source file, so that a change of it would go unseen."""


class Definition(NamedTuple):
    """A name at the top of a module of this project."""

    module: str
    name: str


@dataclass(frozen=True)
class _Module:
    """An imported module, as a name may be bound to one."""

    name: str


@dataclass(frozen=True)
class _Foreign:
    """A name outside this project, by its qualified name."""

    name: str


@dataclass(frozen=True)
class _Imported:
    """A name that a module takes from another one. Followed when it is used, since modules may import each other."""

    module: str
    name: str


_Target = Definition | _Module | _Foreign
_Bound = _Target | _Imported
_LOCAL = None
"""What a scope binds a name to that is a variable of the function."""
_Scope = Mapping[str, _Bound | None]
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_NO_TOKENS = {"ctx", "kind", "type_comment"}


class Tracer:
    """Traces functions to their definitions, once each, in the order in which the code names them.

    A project name becomes the number of its definition and a foreign one its qualified name (``math.floor``). Renaming
    or moving a definition, merging files and import aliases therefore change no token; a constant in a helper does.
    """

    def __init__(self) -> None:
        self._numbers: dict[Definition, int] = {}
        self.foreign: set[str] = set()
        """Qualified names outside the project that the traced code uses."""

    @property
    def definitions(self) -> list[Definition]:
        """All definitions found so far, in order."""
        return list(self._numbers)

    def trace(self, function: Callable[..., Any]) -> Iterator[str]:
        """Tokens of ``function`` and of all definitions that it reaches and that were not traced before.

        Raises UntraceableDefinition for lambdas, bound methods and callable objects: give them a name in a module.
        """
        first = len(self._numbers)
        yield self._reference(_definition_of(function))
        while first < len(self._numbers):
            definition = list(self._numbers)[first]
            first += 1
            yield from self._tokens(definition)

    def _reference(self, target: _Target) -> str:
        if isinstance(target, Definition):
            return f"#{self._numbers.setdefault(target, len(self._numbers))}"
        if isinstance(target, _Foreign):
            self.foreign.add(target.name)
            return target.name
        if not _is_project(target.name):
            return self._reference(_Foreign(target.name))
        # A whole module as a value: everything in it may be used.
        return " ".join(self._reference(_resolved(Definition(target.name, each))) for each in _bindings(target.name))

    def _tokens(self, definition: Definition) -> Iterator[str]:
        for statement in _statements(definition):
            yield from self._statement(statement, definition)

    def _statement(self, node: ast.stmt, definition: Definition) -> Iterator[str]:
        scopes: list[_Scope] = []
        if isinstance(node, _FunctionNode | ast.ClassDef):
            yield from self._node(node, definition.module, scopes, named=False)
        elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            yield from self._node(node.value, definition.module, scopes)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            # The type of a constant computes nothing.
            yield from self._node(node.value, definition.module, scopes) if node.value else ()
        else:
            # Binds several names at once: which of them is meant is part of the definition.
            yield definition.name
            yield from self._node(node, definition.module, [{definition.name: _LOCAL}])

    def _node(self, node: ast.AST, module: str, scopes: list[_Scope], named: bool = True) -> Iterator[str]:
        if isinstance(node, ast.Name | ast.Attribute):
            target = _target(node, module, scopes)
            if target is not None:
                yield self._reference(target)
                return
        # Brackets: without them a statement moved out of its block, or an argument into another call, would not show.
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            # Empty and absent fields are left out: Python versions differ in which of them a node has.
            if value is None or value == [] or name in _NO_TOKENS or (name == "name" and not named):
                continue
            yield f"{name}["
            inner = _scopes_of_field(node, name, scopes)
            for item in value if isinstance(value, list) else [value]:
                if not isinstance(item, ast.AST):
                    yield repr(item)
                elif not _is_docstring(item) and not isinstance(item, ast.Import | ast.ImportFrom):
                    yield from self._node(item, module, inner)
            yield "]"
        yield ")"


def _is_docstring(node: ast.AST) -> bool:
    # A bare string is a docstring or a note on the name above it; neither computes anything.
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _definition_of(function: Callable[..., Any]) -> Definition:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    outermost = name.split(".")[0]
    if not inspect.isfunction(function) or not module or outermost not in _bindings(module):
        raise UntraceableDefinition(f"{function!r} is no function with a name in a module: its code cannot be pinned")
    # Of a nested function the outermost one: it decides what the inner one closes over.
    return Definition(module, outermost)


# Where a name comes from


def _target(node: ast.expr, module: str, scopes: list[_Scope]) -> _Target | None:
    """What a name or a dotted name means; None for variables, and for attributes of values."""
    if isinstance(node, ast.Name):
        for scope in reversed(scopes):
            if node.id in scope:
                return _followed(scope[node.id])
        if node.id in _bindings(module):
            return _resolved(Definition(module, node.id))
        return _Foreign(f"builtins.{node.id}") if hasattr(builtins, node.id) else None
    if isinstance(node, ast.Attribute):
        owner = _target(node.value, module, scopes)
        if isinstance(owner, _Module):
            return _member(owner.name, node.attr)
        if isinstance(owner, _Foreign):
            return _Foreign(f"{owner.name}.{node.attr}")
    return None


def _resolved(definition: Definition) -> _Target:
    """Follows imports to the module that defines the name."""
    (first, *_) = _bindings(definition.module)[definition.name]
    return definition if isinstance(first, ast.stmt) else _followed(first) or definition


def _followed(bound: _Bound | None) -> _Target | None:
    return _member(bound.module, bound.name) if isinstance(bound, _Imported) else bound


def _member(module: str, name: str) -> _Target:
    if not _is_project(module):
        return _Foreign(f"{module}.{name}")
    if name in _bindings(module):
        return _resolved(Definition(module, name))
    return _Module(f"{module}.{name}")


@cache
def _is_project(module: str) -> bool:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    spec = importlib.util.find_spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    files = [Path(place).resolve() for place in places if place and place not in {"built-in", "frozen"}]
    return bool(files) and not any(file.is_relative_to(root) for file in files for root in _INSTALLED)


# What a module defines


@cache
def _source(module: str) -> ast.Module:
    # Once in the life of a process: the files of a running service may be replaced under it, and what it folds with is
    # the code that it has loaded.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UntraceableDefinition(f"{module} has no source file: its code cannot be pinned")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


@cache
def _bindings(module: str) -> dict[str, list[ast.stmt | _Bound]]:
    """Names at the top of a module: the statements that bind each, or where it is imported from."""
    found: dict[str, list[ast.stmt | _Bound]] = {}
    for statement in _flat(_source(module).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, target in _imported(statement, module).items():
                found.setdefault(name, []).append(target)
        else:
            for name in _names_bound(statement):
                found.setdefault(name, []).append(statement)
    return found


def _statements(definition: Definition) -> list[ast.stmt]:
    bound = _bindings(definition.module)[definition.name]
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


def _imported(node: ast.Import | ast.ImportFrom, module: str) -> dict[str, _Bound]:
    if isinstance(node, ast.Import):
        return {
            a.asname or a.name.split(".")[0]: _Module(a.name if a.asname else a.name.split(".")[0]) for a in node.names
        }
    origin = node.module or ""
    if node.level:
        origin = importlib.util.resolve_name("." * node.level + origin, module.rpartition(".")[0])
    if any(alias.name == "*" for alias in node.names) and _is_project(origin):
        raise UntraceableDefinition(f"{module} imports * from {origin}: name what is imported")
    return {alias.asname or alias.name: _Imported(origin, alias.name) for alias in node.names}


def _names_bound(node: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its own scope."""
    if isinstance(node, _FunctionNode | ast.ClassDef):
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


def _scopes_of_field(node: ast.AST, field: str, scopes: list[_Scope]) -> list[_Scope]:
    """The scopes in which the names of one field of ``node`` are looked up."""
    if isinstance(node, _FunctionNode | ast.Lambda) and field == "body":
        # The names of a class body are not seen by its methods.
        return [*(scope for scope in scopes if not isinstance(scope, _ClassScope)), _function_scope(node)]
    if isinstance(node, ast.ClassDef) and field == "body":
        return [*scopes, _ClassScope(dict.fromkeys(_bound_in(node.body), _LOCAL))]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [*scopes, dict.fromkeys((n for g in node.generators for n in _names_bound(g.target)), _LOCAL)]
    return scopes


class _ClassScope(dict[str, _Bound | None]):
    """Names of a class body."""


def _function_scope(node: _FunctionNode | ast.Lambda) -> _Scope:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    scope: dict[str, _Bound | None] = dict.fromkeys((a.arg for a in every if a), _LOCAL)
    if not isinstance(node, ast.Lambda):
        scope.update(dict.fromkeys(_bound_in(node.body), _LOCAL))
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
