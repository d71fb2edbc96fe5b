"""Every public name of `ntkjax.stax` is documented, and a case or a reason stands for it."""

import doctest
import inspect
import re
from pathlib import Path

import pytest

from ntkjax import stax
from tests.contract.registry import CASES, WITHOUT_KERNEL

LAYERS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "layers.md"

#: Public names for which no network stands, and why.
WITHOUT_CASE = {
    "AggregateImplementation": "what an argument of Aggregate may be",
    "Bool": "what a user's layer requires",
    "Diagonal": "what a user's layer requires",
    "MaskedArray": "what finite networks take and return",
    "unmask_fn": "a function of finite networks",
    **dict.fromkeys(WITHOUT_KERNEL, "a layer that has no kernel"),
}

each_name = pytest.mark.parametrize("name", stax.__all__)


def first_cells(page):
    """What the rows of the tables of a page are about."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line.split("|")[1] for line in lines if line.startswith("|")]


def test_first_cells_are_found():
    assert any("`Dense(out_dim" in cell for cell in first_cells(LAYERS_PAGE))


@each_name
def test_a_row_of_the_page_is_about_it(name):
    cells = first_cells(LAYERS_PAGE)
    assert any(re.search(rf"`{name}\b", cell) for cell in cells), "add a row to docs/layers.md"


@each_name
def test_its_docstring_has_an_example(name):
    value = getattr(stax, name)
    text = inspect.getdoc(value) or ""
    assert "Example:" in text, f"{name}: add an example to its docstring"
    assert doctest.DocTestParser().get_examples(text)


@each_name
def test_a_case_or_a_reason_stands_for_it(name):
    named = {name for case in CASES for name in case.layers}
    assert (name in named) != (name in WITHOUT_CASE), "a case in its family, or a reason here"
