"""Every file, symbol, module and test that a page of docs/ names exists, so that the pages stay true after a move."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
ROOMS = ("alembic", "benchmarks", "deploy", "domain", "infrastructure", "projections", "read_models", "tests")
MADE_BY_THE_READER = {"docs/write-a-projection.md": "longest_silence", "docs/eta.md": "test_promise_left"}
"""Names of files that a page makes the reader write."""

_FILE = re.compile(
    rf"(?<![\w/.-])((?:{'|'.join(ROOMS)})(?:/[\w.-]+)+\.(?:py|lua|sql|avsc|yml|json|toml|xml|properties))"
)
_SYMBOL = re.compile(r"([\w./-]+\.py):([A-Za-z_][\w.]*)")
_MODULE = re.compile(rf"(?<![\w/.])((?:{'|'.join(ROOMS)})(?:\.(?!md\b)[a-z_]\w*)+)")
_IMPORT = re.compile(rf"^from ((?:{'|'.join(ROOMS)})[\w.]*) import (\w+(?:, \w+)*)$", re.MULTILINE)
_TEST_FILE = re.compile(r"`(test_\w+\.py)`")
_TEST = re.compile(r"`(test_\w+)`")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    """The page without the names of files that its reader makes."""
    made = MADE_BY_THE_READER.get(page_name(page))
    return "\n".join(line for line in page.read_text().splitlines() if made is None or made not in line)


@functools.cache
def symbols_of(path: str) -> frozenset[str]:
    """Functions, classes and constants of a module, at any depth; members of a class also as Class.member."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
                yield f"{prefix}{node.name}"
                yield from walk(node.body, f"{node.name}." if isinstance(node, ast.ClassDef) else "")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield f"{prefix}{target.id}"

    return frozenset(walk(ast.parse((ROOT / path).read_text()).body, ""))


@functools.cache
def sources_of_tests() -> dict[str, str]:
    return {file.name: file.read_text() for file in (ROOT / "tests").rglob("test_*.py")}


def anchors_of(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_file_and_module_that_a_page_names_exists(page: Path) -> None:
    text = text_of(page)
    missing = [path for path in _FILE.findall(text) if not (ROOT / path).exists()]
    for module in _MODULE.findall(text):
        path = ROOT / module.replace(".", "/")
        # The last part may be a symbol of the module before it.
        if not (path.is_dir() or path.with_suffix(".py").exists() or path.parent.with_suffix(".py").exists()):
            missing.append(module)
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_symbol_that_a_page_names_exists(page: Path) -> None:
    found = _SYMBOL.findall(text_of(page))
    missing = [f"{path}:{name}" for path, name in found if not (ROOT / path).exists() or name not in symbols_of(path)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_import_in_the_code_of_a_page_exists(page: Path) -> None:
    missing = []
    for module, names in _IMPORT.findall(text_of(page)):
        path = module.replace(".", "/")
        for name in names.replace(" ", "").split(","):
            in_module = (ROOT / f"{path}.py").exists() and name in symbols_of(f"{path}.py")
            if not (in_module or (ROOT / path / f"{name}.py").exists() or (ROOT / path / name).is_dir()):
                missing.append(f"{module}.{name}")
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    text = text_of(page)
    missing = [name for name in _TEST_FILE.findall(text) if name not in sources_of_tests()]
    missing += [
        name
        for name in _TEST.findall(text)
        if not any(f"def {name}(" in source for source in sources_of_tests().values())
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    missing = []
    for path, anchor in _LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
            missing.append(f"{path}#{anchor}")
    assert not missing


def test_the_map_names_symbols() -> None:
    """Guards the patterns above: they do find what the pages name."""
    assert len(_SYMBOL.findall((ROOT / "docs" / "architecture.md").read_text())) > 100
    assert len(_SYMBOL.findall((ROOT / "docs" / "glossary.md").read_text())) > 30
