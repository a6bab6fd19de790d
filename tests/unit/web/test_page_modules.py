"""The pure modules of the page, run by Node's own test runner, and the files that the package has."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infrastructure.http.web_page import LOADED_LATER, version, web_files
from projections.catalogue import PROJECTIONS
from tests.support.web.node_tools import ROOT, TOOLS
from tests.support.web.vendor import libraries, sha256_of

HERE = Path(__file__).parent
MAX_ZIPPED_BYTES = 150_000


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_pure_modules_of_the_page() -> None:
    tests = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", *tests], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[0]) >= 14


def test_the_whole_page_is_small() -> None:
    assert sum(len(file.zipped) for file in web_files().values()) <= MAX_ZIPPED_BYTES


def test_the_vendored_libraries_are_the_pinned_ones() -> None:
    files = {
        f"vendor/{to}": digest for library in libraries() for to, digest in ((f.to, f.sha256) for f in library.files)
    }
    vendored = {name: file for name, file in web_files().items() if name.startswith("vendor/")}
    assert {name: sha256_of(file.body) for name, file in vendored.items()} == files


def test_no_file_of_the_page_names_another_host_or_has_inline_code() -> None:
    for name, file in web_files().items():
        if name.startswith("vendor/"):
            continue
        text = file.body.decode()
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[\w.]+", text) == [], name
        assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\son\w+=\"|\sstyle=", text) == [], name
        assert "innerhtml" not in text.lower(), name


def test_every_file_that_a_module_loads_exists() -> None:
    for name, file in web_files().items():
        if not name.endswith((".js", ".html")) or name.startswith("vendor/"):
            continue
        folder = posixpath.dirname(name)
        text = file.body.decode()
        loaded = [posixpath.normpath(posixpath.join(folder, one)) for one in re.findall(r"from \"(\.[^\"]+)\"", text)]
        loaded += re.findall(rf"(?:src|href)=\"web/{version()}/([^\"]+)\"", text)
        assert set(loaded) <= set(web_files()), name


def test_every_module_of_the_page_is_loaded_by_it() -> None:
    reached, todo = set[str](), ["app.js"]
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        found = re.findall(r"(?:from |import\()\"(\.[^\"]+)\"", web_files()[name].body.decode())
        todo += [posixpath.normpath(posixpath.join(posixpath.dirname(name), one)) for one in found]
    modules = {name for name in web_files() if name.endswith(".js")} - {"vendor/uplot.js", "vendor/pmtiles.js"}
    assert modules == reached


def test_the_page_names_each_of_its_files_with_their_version() -> None:
    """Without it a browser would keep a file of before an update, or ask for all of them at each start."""
    page = web_files()["index.html"].body.decode()
    assert re.findall(r"(?:src|href)=\"(?!data:|schema)(.*?)\"", page)
    assert re.findall(rf"(?:src|href)=\"(?!data:|schema|web/{version()}/)(.*?)\"", page) == []


def test_the_page_names_every_module_so_that_all_are_loaded_at_once() -> None:
    page = web_files()["index.html"].body.decode()
    preloaded = re.findall(rf'<link rel="modulepreload" href="web/{version()}/([^"]+)">', page)
    modules = {name for name in web_files() if name.endswith(".js")}
    assert sorted(preloaded) == sorted(modules - {"app.js", "vendor/uplot.js"} - LOADED_LATER)
    assert modules > LOADED_LATER
    for name in modules - LOADED_LATER:
        text = web_files()[name].body.decode()
        assert not [one for one in re.findall(r"from \"[^\"]*/([^/\"]+)\"", text) if f"map/{one}" in LOADED_LATER], name
    assert page.index("modulepreload") < page.index("</head>")


def test_every_module_of_the_page_has_one_reason_to_change() -> None:
    lines = {name: file.body.count(b"\n") for name, file in web_files().items() if not name.startswith("vendor/")}
    assert {name: count for name, count in lines.items() if name.endswith(".js") and count > 250} == {}


def test_each_stage_of_the_pipeline_has_words_on_the_page() -> None:
    """A projection without them would be a name that only its makers know."""
    text = web_files()["stage_words.js"].body.decode().split("VERDICT_WORDS")[0]
    assert set(re.findall(r"^  (\w+): \"", text, re.MULTILINE)) == {"log", "tailer", *PROJECTIONS}


def test_the_tools_are_pinned_by_hash_and_come_from_no_named_registry() -> None:
    pinned = json.loads((TOOLS / "package.json").read_text())["devDependencies"]
    packages = json.loads((TOOLS / "package-lock.json").read_text())["packages"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in pinned} == pinned
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def test_nothing_of_the_tools_is_in_the_package() -> None:
    assert {Path(name).suffix for name in web_files() if not name.endswith("LICENSE")} == {".js", ".css", ".html"}
    assert ROOT / "infrastructure" not in TOOLS.parents
