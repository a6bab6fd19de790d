"""Invariant 9: a digest changes with the code that computes a fold, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projections.digest.definitions import Tracer
from projections.digest.digest import tokens
from projections.digest.names import UntraceableDefinition, capture_sources

Modules = Callable[..., Any]
HELPER = "LIMIT = 3\n\ndef kept(n):\n    return min(n, LIMIT)\n"
FOLD = "from PACKAGE.helper import kept\n\ndef fold(a):\n    return kept(a) + 1\n"


def test_a_comment_a_docstring_and_the_layout_change_nothing(written: Modules) -> None:
    one = written(a='def fold(a):\n    """Words."""\n    return a + 1\n')
    same = written(a='# a comment\ndef fold(a):\n    """Other words."""\n    return (a\n        + 1)\n')
    assert tokens([one.fold]) == tokens([same.fold])


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        ({"b": FOLD, "helper": HELPER}, "the file was renamed"),
        ({"a": HELPER + "\ndef fold(a):\n    return kept(a) + 1\n"}, "the files were merged"),
        ({"a": FOLD.replace("kept", "most").replace("import most", "import kept as most"), "helper": HELPER}, "alias"),
        ({"a": "from PACKAGE import helper\n\ndef fold(a):\n    return helper.kept(a) + 1\n", "helper": HELPER},
         "a helper named through its module"),
        ({"a": FOLD.replace("kept", "trimmed"), "helper": HELPER.replace("kept", "trimmed")}, "a helper was renamed"),
        ({"a": FOLD, "helper": HELPER.replace("LIMIT", "MAX_PINGS")}, "a constant was renamed"),
        ({"a": FOLD, "helper": "from PACKAGE.moved import kept\n", "moved": HELPER}, "the helper moved"),
        ({"a": FOLD, "helper": HELPER + "\ndef unused():\n    return 7\n"}, "unreachable code was added"),
        ({"a": FOLD, "helper": HELPER.replace("LIMIT = 3", "LIMIT: int = 3")}, "a constant has a type now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_moving_merging_and_renaming_change_nothing(written: Modules, sources: dict[str, str], why: str) -> None:
    assert tokens([written(**sources).fold]) == tokens([written(a=FOLD, helper=HELPER).fold]), why


@pytest.mark.parametrize(
    "helper",
    [
        HELPER.replace("3", "4"),
        HELPER.replace("min", "max"),
        HELPER.replace("min(n, LIMIT)", "min(LIMIT, n)"),
        HELPER + "LIMIT = 4\n",
        HELPER + "if LIMIT:\n    LIMIT += 1\n",
        HELPER.replace("def kept(n)", "def kept(n, m=LIMIT)"),
        "from functools import cache\n" + HELPER.replace("def kept", "@cache\ndef kept"),
        "def min(n, m):\n    return m\n" + HELPER,
    ],
)
def test_a_change_in_a_helper_changes_the_digest(written: Modules, helper: str) -> None:
    assert tokens([written(a=FOLD, helper=helper).fold]) != tokens([written(a=FOLD, helper=HELPER).fold])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n"),
        ("for a in b:\n    c()\n    d()\n", "for a in b:\n    c()\nd()\n"),
        ("min(max(a, b), c)\n", "min(max(a, b, c))\n"),
        ("[[a], b]\n", "[[a, b]]\n"),
        ("def f():\n    return a\nb()\n", "def f():\n    return a\n    b()\n"),
    ],
)
def test_regression_where_a_block_a_call_or_a_list_ends_is_part_of_the_digest(
    written: Modules, one: str, other: str
) -> None:
    def of(body: str) -> list[str]:
        return tokens([written(a="def fold(a, b, c, d):\n" + "".join(f"    {x}\n" for x in body.splitlines())).fold])

    assert of(one) != of(other)


def test_a_foreign_name_counts_by_its_qualified_name(written: Modules) -> None:
    plain = written(a="import math\n\ndef fold(a):\n    return math.floor(a)\n")
    named = written(a="from math import floor as cut\n\ndef fold(a):\n    return cut(a)\n")
    inside = written(a="def fold(a):\n    from math import floor\n    return floor(a)\n")
    other = written(a="import math\n\ndef fold(a):\n    return math.ceil(a)\n")
    assert tokens([plain.fold]) == tokens([named.fold])
    assert "math.floor" in tokens([inside.fold])
    assert tokens([plain.fold]) != tokens([other.fold])


def test_a_class_counts_with_its_methods_also_where_only_an_annotation_names_it(written: Modules) -> None:
    fold = "from PACKAGE.state import State\n\ndef fold(state: State):\n    return state.later()\n"
    state = "class State:\n    def later(self):\n        return STEP\n\nSTEP = 1\n"
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    " + fold.replace("\n\n", "\n\n", 1)
    once = tokens([written(a=fold, state=state).fold])
    assert once != tokens([written(a=fold, state=state.replace("STEP = 1", "STEP = 2")).fold])
    assert once == tokens([written(a="from __future__ import annotations\n" + guarded, state=state).fold])


def test_a_variable_hides_the_name_of_the_module_only_where_it_is_bound(written: Modules) -> None:
    """A parameter, a loop variable and a name of a class body are no uses of the constant that has their name."""
    uses = "N = {n}\n\ndef fold(a):\n    return N + sum(a for N in a)\n"
    assert tokens([written(a=uses.format(n=1)).fold]) != tokens([written(a=uses.format(n=2)).fold])
    hidden = "N = {n}\n\ndef fold(N):\n    return [N for _ in N]\n"
    assert tokens([written(a=hidden.format(n=1)).fold]) == tokens([written(a=hidden.format(n=2)).fold])
    default = "N = {n}\n\ndef fold(N=N):\n    return N\n"
    assert tokens([written(a=default.format(n=1)).fold]) != tokens([written(a=default.format(n=2)).fold])
    method = (
        "N = {n}\n\nclass State:\n    N = 5\n    def go(self):\n        return N\n\ndef fold(a):\n    return State()\n"
    )
    assert tokens([written(a=method.format(n=1)).fold]) != tokens([written(a=method.format(n=2)).fold])
    declared = "N = {n}\n\ndef fold(a):\n    global N\n    N = N + 1\n    return N\n"
    assert tokens([written(a=declared.format(n=1)).fold]) != tokens([written(a=declared.format(n=2)).fold])


def test_modules_that_import_each_other_do_not_loop(written: Modules) -> None:
    helper = "from PACKAGE.a import START\n\ndef kept(n):\n    return n - START\n"
    fold = "START = {n}\n\ndef fold(a):\n    from PACKAGE.helper import kept\n    return kept(a)\n"
    assert tokens([written(a=fold.format(n=1), helper=helper).fold]) != tokens(
        [written(a=fold.format(n=2), helper=helper).fold]
    )


def test_definitions_that_call_each_other_do_not_loop(written: Modules) -> None:
    source = "def fold(a):\n    return odd(a)\n\ndef odd(a):\n    return fold(a - {n})\n"
    assert tokens([written(a=source.format(n=1)).fold]) != tokens([written(a=source.format(n=2)).fold])


def test_which_of_two_names_a_statement_binds_counts(written: Modules) -> None:
    source = "A, B = 1, 2\n\ndef fold(a):\n    return {}\n"
    assert tokens([written(a=source.format("A")).fold]) != tokens([written(a=source.format("B")).fold])


def test_a_nested_function_counts_with_what_it_closes_over(written: Modules) -> None:
    source = "def made():\n    step = {n}\n    def fold(a):\n        return a + step\n    return fold\n"
    assert tokens([written(a=source.format(n=1)).made()]) != tokens([written(a=source.format(n=2)).made()])


def test_a_function_without_a_name_is_rejected(written: Modules) -> None:
    module = written(
        a="class Fold:\n    def __call__(self, a):\n        return a\n\nfold = Fold()\nshort = lambda a: a\n"
    )
    for function in (module.fold, module.short, module.Fold().__call__, len):
        with pytest.raises(UntraceableDefinition, match="cannot be pinned"):
            tokens([function])


def test_a_star_import_of_project_code_is_rejected(written: Modules) -> None:
    with pytest.raises(UntraceableDefinition, match="name what is imported"):
        tokens([written(a="from PACKAGE.helper import *\n\ndef fold(a):\n    return kept(a)\n", helper=HELPER).fold])


def test_foreign_names_are_listed(written: Modules) -> None:
    tracer = Tracer()
    list(tracer.trace(written(a=FOLD, helper="import time\n\ndef kept(n):\n    return time.time()\n").fold))
    assert "time.time" in tracer.foreign


def test_regression_a_digest_that_is_computed_late_is_of_the_code_that_was_loaded(written: Modules) -> None:
    loaded, same = written(a=FOLD, helper=HELPER), written(a=FOLD, helper=HELPER)
    capture_sources()
    Path(loaded.__file__).with_name("helper.py").write_text(HELPER.replace("3", "4"))
    assert tokens([loaded.fold]) == tokens([same.fold])
