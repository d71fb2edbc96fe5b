"""The advice of a solve that fails: the smallest strength with which the same solve succeeds."""

import re

import numpy as np
import pytest
from inference_cases import data, kernel_fn

import ntkjax
from ntkjax._solve.regularizer import Regularizer, smallest_strength
from ntkjax.predict import gp_inference, gradient_descent_mse_ensemble
from ntkjax.stax import Dense, Relu, repeat, serial
from tests.precision import x64

RNG = np.random.default_rng(0)
#: Points of a curve, so that kernels have few large eigenvalues.
X = np.stack([np.cos(angle := np.linspace(0, 1, 150)), np.sin(angle)], 1)
X = X + 1e-3 * RNG.normal(size=X.shape)
Y = np.sin(9 * X[:, :1])
DEEP = serial(repeat(serial(Dense(1, 1.4, 0.1), Relu()), 3), Dense(1)).kernel_fn


def advice_of(error):
    """The strength that a failed solve advises."""
    (strength,) = re.findall(r"not positive definite.* \w+=(\S+) would do", str(error))
    return float(strength)


def solve_of(kind, dtype, scale, absolute):
    """A solve of a strength: it returns the advice, or None where it succeeds."""
    x = X.astype(dtype)

    def scaled(*arguments):
        kernel = DEEP(*arguments)
        return kernel.replace(nngp=scale * kernel.nngp, ntk=scale * kernel.ntk)

    def solve(strength):
        arguments = (strength, absolute)
        try:
            if kind == "posterior":
                gp_inference(scaled(x), Y, *arguments)("nngp", scaled(x[:3], x))
            else:
                t = None if kind == "end" else np.inf
                ensemble = gradient_descent_mse_ensemble(
                    lambda x1, x2, get: scaled(x1, x2), x, Y, 1.0, *arguments
                )
                ensemble(t, x[:3], "nngp")
        except ValueError as error:
            return advice_of(error)
        return None

    return solve


@pytest.mark.parametrize("kind", ["posterior", "end", "modes"])
@pytest.mark.parametrize(
    ("scale", "absolute"), [(1.0, False), (1e4, False), (1.0, True), (1e4, True), (1e-4, True)]
)
def test_the_advice_is_the_smallest_that_works(kind, scale, absolute):
    solve = solve_of(kind, np.float32, scale, absolute)
    advice = solve(0.0)
    assert solve(advice) is None
    assert solve(advice / 3) is not None
    # Of a strength that is set and does not do, it is the same.
    again = solve(advice / 4)
    assert advice / 2 <= again <= 2 * advice
    assert solve(again) is None


def test_the_units_of_the_advice_are_the_callers():
    relative, absolute = (solve_of("end", np.float32, 1e4, flag)(0.0) for flag in (False, True))
    mean = 1e4 * float(np.mean(np.diagonal(DEEP(X, None, "nngp"))))
    assert absolute / 3 < relative * mean < 3 * absolute


@pytest.mark.parametrize("shift", [0.3, 3e-3, 3e-6])
def test_an_eigenvalue_that_is_negative_is_lifted(shift):
    """Where rounding does not matter, the smallest strength is minus the smallest eigenvalue."""
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    matrix = rotation @ np.diag([-shift, 1, 2, 3, 4, 5]) @ rotation.T
    matrix = (matrix + matrix.T) / 2
    with pytest.raises(ValueError, match=r"reg=(\S+) would do") as caught:
        ntkjax.ntk_predict(matrix, matrix[:2], np.ones(6), reg=0.0)
    advice = advice_of(caught.value)
    assert shift < advice < 1.2 * shift


@pytest.mark.parametrize("threshold", [3e-9, 2e-4, 0.7, 40.0])
@pytest.mark.parametrize("guess", [1e-12, 1e-3, 30.0])
def test_the_search_finds_the_threshold_from_any_guess(threshold, guess):
    tried = []

    def succeeds(full):
        tried.append(float(full[0, 0]) - 1)
        return tried[-1] >= threshold

    found = smallest_strength(np.eye(3), Regularizer("reg", 0.0, True), guess, succeeds)
    assert threshold * (1 - 1e-6) <= found <= 2.2 * threshold
    assert len(tried) < 40


def test_no_strength_helps_a_kernel_without_a_positive_diagonal():
    with pytest.raises(ValueError, match="diagonal is not positive, so this is not the kernel of"):
        gp_inference(-np.eye(3), np.ones((3, 1)))("nngp", np.ones((1, 3)))


def test_float64_is_advised_only_where_it_is_off():
    x, x_test, y = data(np.float32)
    x[3] = x[1]

    def message(setting):
        with ntkjax.config.set(dtype=setting), pytest.raises(ValueError) as caught:
            gp_inference(kernel_fn(x), y)("nngp", kernel_fn(x_test, x))
        return str(caught.value)

    assert "positive definite in float64" in message("widest")
    assert "or" not in message("widest").partition("would do")[2]
    assert message("inputs").endswith("or kernels in float64 (ntkjax.config.dtype = 'widest')")
    with x64(False):
        assert message("widest").endswith("or float64 (jax_enable_x64)")
