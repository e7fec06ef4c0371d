"""What the documentation shows is run: every example in a docstring and every python block of README.md and docs/."""

import doctest
import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import anotwin
from anotwin.methods.registry import METHODS

ROOT = Path(__file__).parent.parent
MODULES = sorted(info.name for info in walk_packages(anotwin.__path__, "anotwin."))
WORKED = ROOT / "tests/conformance/strips"  # the domain that CONTRIBUTING.md goes through
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```python *\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)


def _blocks(page: Path) -> list[str]:
    return [match["code"] for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    failed, _ = doctest.testmod(import_module(name))
    assert failed == 0


def test_the_examples_are_found() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {name for name in MODULES if any(test.examples for test in finder.find(import_module(name)))}
    assert {"anotwin.detector", "anotwin.seeding", "anotwin.settings", "anotwin.search.descent"} <= found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_in_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page in their order, in one namespace and an empty folder, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("anotwin.methods.registry.METHODS", dict(METHODS))  # a page adds one
    names: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(_blocks(page), start=1):
        if code in (WORKED / "domain.py").read_text(encoding="utf-8"):
            continue  # shown from a file that the suite of domains runs
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, f"{page.name}, block {number}", str(page), None)
            assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
        else:
            exec(compile(code, f"{page.name}, block {number}", "exec"), names)


def test_blocks_are_recognised(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n```python\na = 1\n```\n```sh\nls\n```\n- list\n  ```python\n  b = 2\n  ```\n")
    assert [code.split() for code in _blocks(page)] == [["a", "=", "1"], ["b", "=", "2"]]


def test_every_page_with_python_is_run() -> None:
    for path in PAGES:
        assert path.read_text(encoding="utf-8").count("```python") == len(_blocks(path)), path
