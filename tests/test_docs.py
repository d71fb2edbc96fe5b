"""The Python in README.md and docs/ runs, and their links lead somewhere."""

import doctest
import re
from pathlib import Path

import jax
import pytest

from tests.helpers import programs_compile_fast  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def python_blocks(text):
    """(line, source) of each block marked as Python."""
    for block in BLOCK.finditer(text):
        yield text.count("\n", 0, block.start(1)), block.group(1)


def test_blocks_are_found():
    assert list(python_blocks("a\n```python\nx = 1\n```\n```text\ny\n```\n")) == [(2, "x = 1\n")]


@pytest.fixture
def float32():
    """JAX as a reader finds it, without float64."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@each_page
@pytest.mark.usefixtures("float32")
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """Block after block in one namespace, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for line, source in python_blocks(page.read_text(encoding="utf-8")):
        if source.startswith(">>>"):
            run_doctest(source, namespace, str(page), line)
        else:
            # Leading empty lines make an error name the line of the page.
            exec(compile("\n" * line + source, str(page), "exec"), namespace)


def run_doctest(source, namespace, filename, line):
    test = doctest.DocTestParser().get_doctest(source, namespace, filename, filename, line)
    runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, clear_globs=False)
    namespace.update(test.globs)


@each_page
def test_links_lead_to_files(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing
