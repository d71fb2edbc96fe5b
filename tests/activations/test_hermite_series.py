"""Duals by truncated Hermite series: their error bounds, near-equal points, bad arguments."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import dual, stax
from tests.activations.test_quadrature import integral

#: v1, v2 and the correlation.
PAIRS = np.array([
    (1.0, 1.0, 0.5), (0.25, 0.5, -0.9), (0.5, 2.0, 1.0), (1.0, 1.0, -1.0), (1.0, 0.25, 0.0),
])  # fmt: skip
#: f, f' and the kinks; the degree, and the largest error that may be stated.
FUNCTIONS = {
    "tanh": (jnp.tanh, lambda x: 1 / np.cosh(x) ** 2, [], 24, 0.1),
    "kink": (lambda x: jnp.abs(x - 0.3), lambda x: np.sign(x - 0.3), [0.3], 12, 0.3),
    "cubic": (lambda x: 0.1 * x**3 - x + 0.5, lambda x: 0.3 * x**2 - 1, [], 3, 1e-6),
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_the_stated_error_bounds_the_true_one(name):
    f, slope, kinks, degree, largest = FUNCTIONS[name]
    of = dual(stax.Elementwise(f, series_degree=degree))
    v1, v2, cosine = PAIRS.T
    arguments = cosine * np.sqrt(v1 * v2), v1, v2
    value = lambda x: np.asarray(f(jnp.asarray(x)))  # noqa: E731
    for found, bound, g in zip(of(*arguments), of.error(*arguments), (value, slope), strict=True):
        wanted = np.array([integral(g, kinks, *pair) for pair in PAIRS])
        error = np.abs(np.asarray(found) - wanted)
        assert np.all(error <= np.asarray(bound) + 1e-13)
        assert np.max(bound) < largest
    if name != "cubic":
        assert np.max(error) > 1e-9  # of a series that does leave something out


def test_a_polynomial_is_its_series():
    """Distances of near-equal points included."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    x = np.concatenate([x, x[:2] * (1 + 1e-6), -x[:1], 0 * x[:1]])
    series, exact = (
        stax.serial(stax.Dense(1, 1.3, 0.1), layer, stax.Dense(1))
        for layer in (
            stax.Elementwise(lambda x: 0.5 + x + 0.25 * x**2, series_degree=2),
            stax.Polynomial((0.5, 1.0, 0.25)),
        )
    )
    ours, wanted = (n.kernel_fn(x) for n in (series, exact))
    np.testing.assert_allclose(ours.nngp, wanted.nngp, rtol=1e-12)
    np.testing.assert_allclose(ours.ntk, wanted.ntk, rtol=1e-12)
    np.testing.assert_allclose(ours.distance, wanted.distance, rtol=1e-7, atol=1e-15)


ERRORS = {
    "no degree": (lambda: stax.Elementwise(jnp.tanh, series_degree=0), "series_degree=0"),
    "too many": (lambda: stax.Elementwise(jnp.tanh, series_degree=65), "at most 64"),
    "a formula": (
        lambda: stax.Elementwise(jnp.tanh, lambda k, a, b: k, series_degree=5), "needs no series"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ERRORS))
def test_bad_arguments_are_refused(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        call()
