"""Kernels and predictions agree with those that neural-tangents 0.6.5 gave in float64.

The cases and their values lie in ../shared/reference, beside the checkout; without it all skip.
"""

import importlib.util
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax as nt
from ntkjax import stax

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
# Cases in which neural-tangents is wrong. Strict: a case that agrees must leave here.
DIFFERS = {
    "img_resize": "after an odd number of convolutions it swaps the height and width to resize to; "
    "tests/layers/test_positions.py has the kernel of finite networks"
}


def reference_cases():
    path = REFERENCE / "golden_a.json"
    return json.loads(path.read_text()) if path.exists() else []


def missing_names(expression):
    """The names of the public API in an expression that the package does not have."""
    return [
        f"{owner}.{path}"
        for owner, path in re.findall(r"\b(nt|stax)\.(\w+(?:\.\w+)?)", expression)
        if not has_path({"nt": nt, "stax": stax}[owner], path)
    ]


def has_path(owner, path):
    for name in path.split("."):
        if not hasattr(owner, name):
            return False
        owner = getattr(owner, name)
    return True


def parameters():
    for case in reference_cases():
        marks = []
        if missing := missing_names(case["expr"]):
            marks.append(pytest.mark.skip(reason=f"ntkjax does not have {', '.join(missing)} yet"))
        elif case["name"] in DIFFERS:
            marks.append(pytest.mark.xfail(reason=DIFFERS[case["name"]], strict=True))
        yield pytest.param(case, id=case["name"], marks=marks)


@pytest.fixture(scope="module")
def checker():
    """The reference's own script as a module: it makes the inputs and evaluates a case."""
    spec = importlib.util.spec_from_file_location("check", REFERENCE / "check_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def golden():
    with np.load(REFERENCE / "golden_a.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", list(parameters()))
def test_agrees_with_neural_tangents(case, checker, golden):
    # The finite networks of the reference, which are its users', promote ranks.
    with jax.numpy_rank_promotion("allow"):
        outputs = checker.evaluate(case, nt, stax, jnp)
    assert len(outputs) == case["outputs"]
    for i, actual in enumerate(outputs):
        expected = golden[f"{case['name']}/{i}"].astype(float)
        assert actual.shape == expected.shape
        # The reference's own tolerance: 1e-6 of the largest value.
        atol = 1e-6 * max(1e-3, np.max(np.abs(expected), initial=0.0))
        np.testing.assert_allclose(actual.astype(float), expected, rtol=0, atol=atol)
