"""Finds the definitions that a function is computed by, as tokens that do not depend on names and files."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from projections.digest.names import (
    LOCAL,
    Definition,
    ForeignName,
    FunctionNode,
    Scope,
    Target,
    UntraceableDefinition,
    bindings,
    is_project,
    resolved,
    scopes_of_field,
    statements_of,
    target_of,
)

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

    def _reference(self, target: Target) -> str:
        if isinstance(target, Definition):
            return f"#{self._numbers.setdefault(target, len(self._numbers))}"
        if isinstance(target, ForeignName):
            self.foreign.add(target.name)
            return target.name
        if not is_project(target.name):
            return self._reference(ForeignName(target.name))
        # A whole module as a value: any of its definitions may be used.
        return " ".join(self._reference(resolved(Definition(target.name, each))) for each in bindings(target.name))

    def _tokens(self, definition: Definition) -> Iterator[str]:
        for statement in statements_of(definition):
            yield from self._statement(statement, definition)

    def _statement(self, node: ast.stmt, definition: Definition) -> Iterator[str]:
        scopes: list[Scope] = []
        if isinstance(node, FunctionNode | ast.ClassDef):
            yield from self._node(node, definition.module, scopes, named=False)
        elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            yield from self._node(node.value, definition.module, scopes)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            # The type of a constant computes nothing.
            yield from self._node(node.value, definition.module, scopes) if node.value else ()
        else:
            # The statement binds several names at once, so the name is part of the definition.
            yield definition.name
            yield from self._node(node, definition.module, [{definition.name: LOCAL}])

    def _node(self, node: ast.AST, module: str, scopes: list[Scope], named: bool = True) -> Iterator[str]:
        if isinstance(node, ast.Name | ast.Attribute):
            target = target_of(node, module, scopes)
            if target is not None:
                yield self._reference(target)
                return
        # With brackets, so that moving a statement out of its block, or an argument to another call, changes tokens.
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            # Empty and absent fields are left out, because Python versions differ in which of them a node has.
            if value is None or value == [] or name in _NO_TOKENS or (name == "name" and not named):
                continue
            yield f"{name}["
            inner = scopes_of_field(node, name, scopes)
            for item in value if isinstance(value, list) else [value]:
                if not isinstance(item, ast.AST):
                    yield repr(item)
                elif not _is_docstring(item) and not isinstance(item, ast.Import | ast.ImportFrom):
                    yield from self._node(item, module, inner)
            yield "]"
        yield ")"


def _is_docstring(node: ast.AST) -> bool:
    # A bare string is a docstring, or documents the name above it; neither computes anything.
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _definition_of(function: Callable[..., Any]) -> Definition:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    outermost = name.split(".")[0]
    if not inspect.isfunction(function) or not module or outermost not in bindings(module):
        raise UntraceableDefinition(f"{function!r} is not a named function of a module: its code cannot be pinned")
    # For a nested function the outermost one, which decides what the inner one closes over.
    return Definition(module, outermost)
