"""Invariant 9: every way in which Python code can name a definition leads to it, and a local variable leads nowhere."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import indent
from types import FunctionType
from typing import Any

import pytest

from projections.digest.definitions import Tracer
from projections.digest.digest import tokens
from projections.digest.names import UntraceableDefinition, is_project
from tests.unit.digest.test_digest import FOLD, HELPER

Modules = Callable[..., Any]


def fold(body: str, before: str = "", parameters: str = "a") -> str:
    return f"{before}\n\ndef fold({parameters}):\n{indent(body, '    ')}\n"


@pytest.mark.parametrize(
    "source",
    [
        "from .helper import kept\n\ndef fold(a):\n    return kept(a) + 1\n",
        "from . import helper\n\ndef fold(a):\n    return helper.kept(a) + 1\n",
        "import PACKAGE.helper\n\ndef fold(a):\n    return PACKAGE.helper.kept(a) + 1\n",
        "import PACKAGE.helper as other\n\ndef fold(a):\n    return other.kept(a) + 1\n",
        "import math, PACKAGE.helper as other\n\ndef fold(a):\n    return other.kept(a) + 1\n",
        "def fold(a):\n    from PACKAGE.helper import kept\n    return kept(a) + 1\n",
        "kept = None\n\ndef fold(a):\n    from PACKAGE.helper import kept as most\n    return most(a) + 1\n",
        "try:\n    from PACKAGE.helper import kept\nexcept E:\n    pass\n\ndef fold(a):\n    return kept(a) + 1\n",
        "try:\n    pass\nfinally:\n    from PACKAGE.helper import kept\n\ndef fold(a):\n    return kept(a) + 1\n",
        "if True:\n    pass\nelse:\n    from PACKAGE.helper import kept\n\ndef fold(a):\n    return kept(a) + 1\n",
        "from math import *\nfrom PACKAGE.helper import kept\n\ndef fold(a):\n    return kept(a) + 1\n",
    ],
)
def test_a_helper_is_found_however_it_is_imported(written: Modules, source: str) -> None:
    assert tokens([written(a=source, helper=HELPER).fold]) == tokens([written(a=FOLD, helper=HELPER).fold])


@pytest.mark.parametrize(
    "source",
    [
        fold("return a(helper)", "from PACKAGE import helper"),
        fold("return a(PACKAGE.helper)", "import PACKAGE.helper"),
        fold("return LIMITS[a]", "from PACKAGE import helper\nLIMITS = {1: helper.LIMIT}"),
        fold("return [each(a) for each in ALL]", "from PACKAGE.helper import kept\nALL = [kept]"),
        fold("return a", "from PACKAGE.helper import LIMIT", "a, b=LIMIT"),
        fold("return a", "from PACKAGE.helper import LIMIT", "a, *, b=LIMIT"),
        fold("return lambda b=LIMIT: b", "from PACKAGE.helper import LIMIT"),
        fold("return N", "from PACKAGE.helper import LIMIT\nN: int = LIMIT"),
        fold("return N", "from PACKAGE.helper import LIMIT\nN = M = LIMIT"),
        fold("return N", "from PACKAGE.helper import LIMIT\nN, M = LIMIT, 1"),
        fold("return N", "from PACKAGE.helper import LIMIT\nN = 0\nN += LIMIT"),
        fold("return N", "from PACKAGE.helper import LIMIT\nfor N in [LIMIT]:\n    pass"),
        fold("return N", "from PACKAGE.helper import LIMIT\nwith open(__file__) as f:\n    N = LIMIT"),
        fold("return N", "from PACKAGE.helper import LIMIT\ntry:\n    N = 1\nexcept OSError:\n    N = LIMIT"),
        fold(
            "return N",
            "from PACKAGE.helper import LIMIT\ntry:\n    N = 1\nexcept OSError:\n    N = 2\nelse:\n    N = LIMIT",
        ),
        fold("return N()", "from PACKAGE.helper import LIMIT\nasync def N():\n    return LIMIT"),
        fold("return N()", "from PACKAGE.helper import LIMIT\nclass N:\n    LAST = LIMIT"),
        fold("return [LIMIT for b in a]", "from PACKAGE.helper import LIMIT"),
        fold("return {b: LIMIT for b in a}", "from PACKAGE.helper import LIMIT"),
        fold("return [b for b in LIMIT]", "from PACKAGE.helper import LIMIT"),
        fold("def inner(LIMIT):\n    return LIMIT\nreturn inner(LIMIT)", "from PACKAGE.helper import LIMIT"),
        fold("return (lambda LIMIT: LIMIT)(LIMIT)", "from PACKAGE.helper import LIMIT"),
        fold("return LIMIT.real.imag", "from PACKAGE.helper import LIMIT"),
    ],
)
def test_what_a_fold_names_counts_wherever_the_name_is(written: Modules, source: str) -> None:
    changed = HELPER.replace("LIMIT = 3", "LIMIT = 4")
    assert tokens([written(a=source, helper=HELPER).fold]) != tokens([written(a=source, helper=changed).fold])


@pytest.mark.parametrize(
    "source",
    [
        fold("return N", "N = {n}", "N"),
        fold("return N", "N = {n}", "N, /"),
        fold("return N", "N = {n}", "*, N"),
        fold("return N", "N = {n}", "*N"),
        fold("return N", "N = {n}", "**N"),
        fold("N = a\nreturn N", "N = {n}"),
        fold("N: int = a\nreturn N", "N = {n}"),
        fold("for N in a:\n    a(N)", "N = {n}"),
        fold("with a as N:\n    return N", "N = {n}"),
        fold("try:\n    a()\nexcept OSError as N:\n    return N", "N = {n}"),
        fold("match a:\n    case [N]:\n        return N", "N = {n}"),
        fold("match a:\n    case [*N]:\n        return N", "N = {n}"),
        fold("if (N := a):\n    return N", "N = {n}"),
        fold("def N():\n    return 1\nreturn N", "N = {n}"),
        fold("class N:\n    pass\nreturn N", "N = {n}"),
        fold("import math as N\nreturn N", "N = {n}"),
        fold("from math import floor as N\nreturn N", "N = {n}"),
        fold("return [N for N in a]", "N = {n}"),
        fold("return {{N for N in a}}", "N = {n}"),
        fold("return {{N: N for N in a}}", "N = {n}"),
        fold("return sum(N for N in a)", "N = {n}"),
        fold("return (lambda N: N)(a)", "N = {n}"),
        fold("return (lambda *N: N)(a)", "N = {n}"),
        fold("def inner():\n    return N\nN = a\nreturn inner", "N = {n}"),
        fold("return a.N", "N = {n}"),
        fold("return a", "N: int"),
    ],
)
def test_a_constant_that_a_local_name_hides_does_not_count(written: Modules, source: str) -> None:
    one, other = (written(a=source.format(n=n)) for n in (1, 2))
    assert tokens([one.fold]) == tokens([other.fold])


def test_a_constant_without_a_value_counts_by_its_name_alone(written: Modules) -> None:
    source = "if a_flag := 1:\n    pass\nN: int\n\ndef fold(a):\n    return N\n"
    assert tokens([written(a=source).fold]) == tokens([written(a=source.replace("N: int", "N: float")).fold])


def test_a_foreign_module_as_a_value_counts_by_its_name(written: Modules) -> None:
    tracer = Tracer()
    list(tracer.trace(written(a=fold("return a(math)", "import math")).fold))
    assert tracer.foreign == {"math"}
    assert tokens([written(a=fold("return a(math)", "import math")).fold]) != tokens(
        [written(a=fold("return a(cmath)", "import cmath")).fold]
    )


def test_a_definition_has_one_number_wherever_it_is_named(written: Modules) -> None:
    """In the order in which the code names them, so that the digest does not depend on other names."""
    module = written(a=FOLD, helper=HELPER)
    tracer = Tracer()
    found = list(tracer.trace(module.fold))
    assert [one.name for one in tracer.definitions] == ["fold", "kept", "LIMIT"]
    assert [token for token in found if token.startswith("#")] == ["#0", "#1", "#2"]
    assert list(tracer.trace(module.fold)) == ["#0"]


def test_code_that_comes_with_python_or_is_installed_is_not_of_the_project(written: Modules) -> None:
    assert not any(
        map(is_project, ["math", "json", "os.path", "builtins", "sys", "pytest", "fastavro", "not_there_at_all"])
    )
    assert is_project("projections")
    assert is_project("domain.features.speed.window")
    assert is_project(written(a="").__name__)


def test_code_without_a_source_file_is_rejected(written: Modules) -> None:
    module = written(a="", b="")
    code = compile("1", "", "eval")
    module.fold = FunctionType(code, {"__name__": "no_such_module_at_all"}, "fold")
    with pytest.raises(UntraceableDefinition, match="no_such_module_at_all has no source file"):
        tokens([module.fold])
