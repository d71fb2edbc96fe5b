"""The gallery of nonlinearities: complete, exact, and made by its script."""

import re
from pathlib import Path

import numpy as np
import pytest

import activations
from activations import END, START
from gallery import GALLERY
from integrals import expectations
from ntkjax import dual, stax

ROOT = Path(__file__).resolve().parents[2]
#: Arguments with which some nonlinearity can be made.
ARGUMENTS = [(), (2,), (0.5,), (0.5, 2.0), ((1.0, 2.0),), (abs,), (abs, 5)]
#: Powers, which drive sizes apart so much that depth 20 leaves float32.
UNSTABLE = {"RectifiedMonomial", "Monomial", "Hermite"}


def is_nonlinearity(name):
    """Whether a public layer has a dual."""
    for arguments in ARGUMENTS:
        try:
            init_fn, apply_fn, kernel_fn = layer = getattr(stax, name)(*arguments)
            assert all(map(callable, (init_fn, apply_fn, kernel_fn)))
            dual(layer)
        except Exception:  # not with these arguments, or no nonlinearity
            continue
        return True
    return False


def test_every_nonlinearity_has_a_row():
    page = (ROOT / "docs" / "activations.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE))
    public = {name for name in stax.__all__ if is_nonlinearity(name)} - {"Swish"}
    assert {"Relu", "Tanh", "Elementwise", "ElementwiseNumerical"} <= public
    assert public == rows == {entry.name for entry in GALLERY}


def test_errors_of_the_page_are_small():
    page = (ROOT / "docs" / "activations.md").read_text()
    number = r"(\de[+-]\d\d)"
    row = rf"^\| `(\w+).* \| {number} \| {number} \| (.*) \|$"
    found = re.findall(row, page, re.MULTILINE)
    assert len(found) == len(GALLERY)
    for name, double, single, deep in found:
        # Sizes that are not 1 move away from it from layer to layer.
        assert deep == "unstable" if name in UNSTABLE else float(deep) <= 1e-5
        if name == "ElementwiseNumerical":  # which has the error of its rule
            continue
        assert float(double) <= 1e-12
        assert float(single) <= 1e-5


def test_the_script_makes_the_page(tmp_path, capsys):
    images = tmp_path / "images"
    (tmp_path / "activations.md").write_text(f"before\n{START}old\n{END}after\n")
    relu, sign = activations.main(["--only", "Relu,Sign", "--docs", str(tmp_path)])
    page = (tmp_path / "activations.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert "| `Relu()` |" in capsys.readouterr().out
    assert max(relu.errors[0], sign.errors[0]) < 1e-12
    assert max(relu.errors[1], sign.errors[1]) < 1e-5
    assert max(relu.deep, sign.deep) < 1e-6
    theta = np.linspace(0, np.pi, len(relu.kernel))
    arc = (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi
    np.testing.assert_allclose(relu.kernel, arc, atol=1e-13)
    np.testing.assert_allclose(sign.kernel, 1 - 2 * theta / np.pi, atol=1e-13)
    # Of one hidden layer, K + cos(theta) times the slope; of Sign, which is flat, K alone.
    ntk = arc + np.cos(theta) * (np.pi - theta) / np.pi
    np.testing.assert_allclose(relu.tangents[0], ntk / 2, atol=1e-13)
    np.testing.assert_allclose(sign.tangents[0], sign.kernel, atol=1e-13)
    for name in ("activations.png", "activations_ntk.png"):
        assert (images / name).stat().st_size > 1000


def test_unknown_names_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        activations.main(["--only", "Relu,Rellu", "--docs", str(tmp_path)])
    assert "unknown Rellu; there are " in capsys.readouterr().err


@pytest.mark.parametrize("pair", [(1.0, 1.0, 0.5), (0.25, 4.0, -1.0)], ids=str)
def test_integrals_are_those_of_a_closed_form(pair):
    """The reference itself: of the error function."""
    v1, v2, cosine = pair
    erf = next(entry for entry in GALLERY if entry.name == "Erf")
    (value, size), (slope, _) = expectations(erf, *pair)
    k = cosine * np.sqrt(v1 * v2)
    q = (1 + 2 * v1) * (1 + 2 * v2)
    np.testing.assert_allclose(value, 2 / np.pi * np.arcsin(2 * k / np.sqrt(q)), rtol=1e-14)
    np.testing.assert_allclose(slope, 4 / np.pi / np.sqrt(q - 4 * k**2), rtol=1e-14)
    squares = [2 / np.pi * np.arcsin(2 * v / (1 + 2 * v)) for v in (v1, v2)]
    np.testing.assert_allclose(size, np.sqrt(np.prod(squares)), rtol=1e-14)
