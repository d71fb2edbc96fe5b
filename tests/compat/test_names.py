"""Every public name of neural_tangents 0.6.5 is here, with its arguments; the page says so."""

import enum
import inspect

import pytest

import ntkjax
from tests.compat.names_of_theirs import NAMES, NOTES, PAGE, with_table


def find(name):
    owner = ntkjax
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


def shown(value):
    """A default as the table writes it."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    return "<function>" if inspect.isfunction(value) else repr(value)


def parameters(signature):
    """(name, default) of each argument; a star in front of those without a place."""
    found = []
    for p in signature.parameters.values():
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = None if p.default is p.empty else shown(p.default)
        found.append((stars + p.name, default, p.kind is p.KEYWORD_ONLY))
    return found


def theirs(text):
    """The same of a signature of the table, whose defaults are words."""

    class Word:
        def __init__(self, text):
            self.text = text

        def __getattr__(self, name):
            return Word(f"{self.text}.{name}")

        def __repr__(self):
            return self.text

    class Words(dict):
        def __missing__(self, name):
            return Word(name)

    source = text.replace("<function>", "function")
    scope = Words()
    exec(f"def f{source}: pass", {}, scope)
    return parameters(inspect.signature(scope["f"]))


#: Defaults that say the same in other words, or that are better (see the notes).
DEFAULTS = {
    "NtkImplementation.JACOBIAN_CONTRACTION": "NtkImplementation.AUTO",
    "function": "<function>",
    "'DENSE'": "AggregateImplementation.DENSE",
}


def same_default(one, other):
    if one is None or other is None:
        return one is other
    if one == other or DEFAULTS.get(one) == other:
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def test_there_are_74_names():
    assert len(NAMES) == 74
    assert set(NOTES) <= set(NAMES)


@pytest.mark.parametrize("name", list(NAMES))
def test_the_arguments_are_theirs(name):
    value, text = find(name), NAMES[name]
    if text.startswith("enum: "):
        assert list(value.__members__) == text.removeprefix("enum: ").split(", ")
        return
    if not text.startswith("("):
        return
    ours, wanted = parameters(inspect.signature(value)), theirs(text)
    stars = [p for p in wanted if p[0].startswith("*")]
    assert len([p for p in ours if p[0].startswith("*")]) == len(stars)
    if name != "stax.requires":
        assert [p[0] for p in ours if p[0].startswith("*")] == [p[0] for p in stars]
    plain = [p for p in wanted if not p[0].startswith("*")]
    mine = [p for p in ours if not p[0].startswith("*")]
    for one, other in zip(plain, mine, strict=False):
        assert (one[0], one[2]) == (other[0], other[2])
        assert same_default(one[1], other[1]), (one, other)
    # What is more has a default, and comes after.
    assert len(mine) >= len(plain)
    assert all(default is not None for _, default, _ in mine[len(plain) :])
    assert len(mine) == len(plain) or name in NOTES


def test_the_page_holds_the_table():
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "run python tests/compat/names_of_theirs.py"
