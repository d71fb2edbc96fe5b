"""The machinery of the contract: every public layer is in it, and it notices a wrong one."""

import ast
import inspect

import numpy as np
import pytest

from ntkjax import stax
from ntkjax._layers.layer import Layer
from ntkjax.stax import Conv, Dense, Flatten, Gelu, GlobalAvgPool, Relu
from tests.contract import (
    expectations,
    twins,
    twins_branches,
    twins_convolutions,
    twins_masks,
    twins_sequences,
)
from tests.contract.case import Case
from tests.contract.expectations import by_quadrature
from tests.contract.finite_width import finite_width_law
from tests.contract.laws import twin_law
from tests.contract.registry import CASES, WITHOUT_KERNEL


def makes_a_layer(value):
    """Whether a public name is a layer or a combinator, not what one is told or returns."""
    return inspect.isfunction(value) and inspect.signature(value).return_annotation is Layer


def test_every_public_layer_has_a_case():
    named = [*WITHOUT_KERNEL, *(name for case in CASES for name in case.layers)]
    layers = [name for name in stax.__all__ if makes_a_layer(getattr(stax, name))]
    assert set(layers) <= set(named), "a new layer adds a case to its family"
    assert set(named) <= set(stax.__all__)
    assert len(named) == len(set(named))
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_case_has_a_twin_or_says_why_not():
    for case in CASES:
        assert callable(case.twin) or len(case.twin.split()) > 3, case


TWINS = [
    twins,
    twins_branches,
    twins_convolutions,
    twins_masks,
    twins_sequences,
    expectations,
]


@pytest.mark.parametrize("module", TWINS)
def test_twins_share_no_code_with_the_library(module):
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
    assert not [name for name in found if name.split(".")[0] in ("ntkjax", "jax")]


RULES = {
    "rectifier": (
        expectations.rectifier(-0.5, 2.0),
        by_quadrature(
            lambda x: np.where(x > 0, 2 * x, -0.5 * x), lambda x: np.where(x > 0, 2.0, -0.5)
        ),
    ),
    "error function": (
        expectations.error_function(1.1, 0.8, 0.3),
        by_quadrature(
            expectations.scaled_erf(1.1, 0.8, 0.3), expectations.scaled_erf_slope(1.1, 0.8)
        ),
    ),
    "gelu": (
        expectations.gaussian_error_linear(),
        by_quadrature(expectations.gelu, expectations.gelu_slope),
    ),
}


@pytest.mark.parametrize("name", list(RULES))
def test_closed_forms_are_integrals(name):
    variances = [(1.0, 1.0), (0.3, 2.5), (0.05, 4.0)]
    cosines = [1.0, 0.999, 0.7, 0.0, -0.4, -0.999, -1.0]
    v1, v2, cosine = np.array([(*v, c) for v in variances for c in cosines]).T
    for closed, integral in zip(*RULES[name], strict=True):
        cov = cosine * np.sqrt(v1 * v2)
        np.testing.assert_allclose(closed(v1, cov, v2), integral(v1, cov, v2), atol=1e-11)


# ---- wrong layers


def of(layer, kernel_fn):
    """A user's layer: the finite network of one, and another kernel."""
    init_fn, apply_fn, _ = layer
    return init_fn, apply_fn, kernel_fn


def scaled(layer, **factors):
    """A layer whose arrays are multiplied by numbers."""

    def kernel_fn(kernel):
        kernel = layer.kernel_fn(kernel)
        return kernel.replace(**{n: factor * getattr(kernel, n) for n, factor in factors.items()})

    return of(layer, kernel_fn)


def forgets_bias(layer, b_std):
    """A layer whose bias adds nothing to the tangent kernel."""

    def kernel_fn(kernel):
        kernel = layer.kernel_fn(kernel)
        return kernel.replace(ntk=kernel.ntk - b_std**2)

    return of(layer, kernel_fn)


DENSE = twins.dense(W_std=1.5, b_std=0.3)
RELU = twins.activation(expectations.rectifier(0.0, 1.0))


def relu_case(name, wrong):
    return Case(name, (), lambda n: [Dense(n, 1.5, 0.3), wrong], twins.serial(DENSE, RELU), (3,))


WRONG = {
    "another smooth activation": (relu_case("a", of(Relu(), Gelu().kernel_fn)), ("nngp", "ntk")),
    "nngp a percent too large": (relu_case("b", scaled(Relu(), nngp=1.01)), ("nngp",)),
    "ntk a percent too small": (relu_case("c", scaled(Relu(), ntk=0.99)), ("ntk",)),
    "a bias that the ntk forgets": (
        Case("d", (), lambda n: [forgets_bias(Dense(n, 1.5, 0.3), 0.3)], DENSE, (3,)),
        ("ntk",),
    ),
    "a pool over equal positions alone": (
        Case(
            "e", (),
            lambda n: [Conv(n, (3,), padding="SAME"), of(GlobalAvgPool(), Flatten().kernel_fn)],
            twins.serial(twins.conv((3,), padding="SAME"), twins.global_avg_pool()), (4, 2),
        ),
        ("nngp", "ntk"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_layer_is_noticed(name):
    case, fields = WRONG[name]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        twin_law(case)
    for field in fields:
        with pytest.raises(AssertionError, match=f"the {field} is .* from the mean"):
            finite_width_law(case, field)
