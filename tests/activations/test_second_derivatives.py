"""Second derivatives of dual activations: finite at every corner, right where all is smooth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._activations.error_function import ErrorFunction
from ntkjax._activations.gelu import GaussianErrorLinear
from ntkjax._activations.rectifier import Rectifier
from ntkjax._kernel.algebra.roots import safe_reciprocal, safe_sqrt
from tests.activations import textbook
from tests.helpers import fast_jit

ACTIVATIONS = {
    "relu": (Rectifier(0.0, 1.0), functools.partial(textbook.rectifier, 0.0, 1.0)),
    "abrelu": (Rectifier(-0.5, 2.0), functools.partial(textbook.rectifier, -0.5, 2.0)),
    "erf": (ErrorFunction(1.0, 1.0, 0.0), textbook.error_function),
    "gelu": (GaussianErrorLinear(), textbook.gelu),
}
# v1, v2, D.
CORNERS = {
    "equal": (1.0, 1.0, 0.0),
    "nearly equal": (1.0, 1.0, 1e-12),
    "closer than a rounding error": (1.0, 1.0, 1e-25),
    "closer than its cube": (1.0, 1.0, 1e-37),
    "parallel": (1.0, 4.0, 1.0),
    "opposite": (1.0, 1.0, 4.0),
    "beyond opposite": (1.0, 1.0, 4.0 + 1e-12),
    "opposite, of two sizes": (1.0, 4.0, 9.0),
    "one is zero": (0.0, 1.0, 1.0),
    "other is zero": (2.0, 0.0, 2.0),
    "both are zero": (0.0, 0.0, 0.0),
    "tiny": (1e-12, 1e-12, 1e-13),
    "tinier": (1e-24, 1e-24, 2e-24),
    "one is tiny": (1.0, 1e-24, 1.0),
    "large": (1e8, 1e8, 1e6),
}
GENERIC = [(1.0, 1.3, 0.4), (0.5, 2.0, 3.9), (3.0, 2.9, 6.0), (0.2, 4.0, 3.0)]
ORDERS = {
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse twice, recomputed": lambda f: jax.jacrev(jax.jacrev(jax.checkpoint(f))),
}


def pair_values(activation, with_sum, numbers):
    """All that comes of a pair of v1, v2, D, whose sum is known or not."""
    v1, v2, distance = numbers
    supplement = 2 * (v1 + v2) - distance if with_sum else None
    first, second = activation.point(v1), activation.point(v2)
    return jnp.stack(activation.pair(first, second, distance, supplement=supplement))


def far_values(activation, numbers):
    v1, v2, distance = numbers
    covariance = 0.5 * (v1 + v2 - distance)
    rest = safe_sqrt(v1) * safe_sqrt(v2) - jnp.abs(covariance)
    first, second = activation.point(v1), activation.point(v2)
    alone = activation.far(first, second, covariance)[:2]
    return jnp.stack([*alone, *activation.far(first, second, covariance, rest=abs(rest))])


@functools.cache
def second(order, function, *arguments):
    """Compiled once; activations are arguments, so that rectifiers share programs."""
    return fast_jit(
        lambda activation, rows: jax.vmap(
            ORDERS[order](functools.partial(function, activation, *arguments))
        )(rows)
    )


def rows_of(dtype):
    """Corners first; one array, so that all tests share programs."""
    return jnp.asarray([*CORNERS.values(), *GENERIC], dtype)


def assert_finite(found, names):
    finite = np.isfinite(found).reshape(len(found), -1).all(1)
    assert [n for n, is_finite in zip(names, finite, strict=False) if not is_finite] == []


VARIANTS = [
    ("forward over reverse", jnp.float32),
    ("forward over reverse", jnp.float64),
    ("reverse over forward", jnp.float32),
    ("reverse twice, recomputed", jnp.float32),
]


@pytest.mark.parametrize(("order", "dtype"), VARIANTS)
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_pairs_are_finite_at_corners(name, order, dtype):
    found = second(order, pair_values, True)(ACTIVATIONS[name][0], rows_of(dtype))
    assert found.dtype == dtype
    assert_finite(found, CORNERS)


@pytest.mark.parametrize("name", ["erf", "gelu"])
def test_far_pairs_are_finite_at_corners(name):
    activation = ACTIVATIONS[name][0]
    assert_finite(
        second("forward over reverse", far_values)(activation, rows_of(jnp.float32)), CORNERS
    )


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_pairs_are_right_elsewhere(name):
    activation, formula = ACTIVATIONS[name]

    def wanted(numbers):
        v1, v2, distance = numbers
        k = 0.5 * (v1 + v2 - distance)
        dual = formula(v1, v2, k)
        energies = activation.variance(v1) + activation.variance(v2)
        return jnp.stack([energies - 2 * dual.covariance, dual.slope, k])

    exact = fast_jit(jax.vmap(jax.hessian(wanted)))(jnp.asarray(GENERIC))
    rows = rows_of(jnp.float64)
    found = second("forward over reverse", pair_values, True)(activation, rows)[len(CORNERS) :]
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-10)
    if hasattr(activation, "far"):
        found = second("forward over reverse", far_values)(activation, rows)[len(CORNERS) :]
        of_energies = fast_jit(
            jax.vmap(jax.hessian(lambda n: activation.variance(n[0]) + activation.variance(n[1])))
        )(jnp.asarray(GENERIC))
        covariance = 0.5 * (of_energies - exact[:, 0])
        for i, expected in enumerate((covariance, exact[:, 1]) * 2 + (exact[:, 0],)):
            np.testing.assert_allclose(found[:, i], expected, rtol=1e-8, atol=1e-9)


# ---- networks of two inputs


def network(bias, with_sum, numbers):
    """The NTK of two layers of ReLU, and the NNGP kernel of the first."""
    x, y = jnp.split(numbers, 2)
    relu, b2 = ACTIVATIONS["relu"][0], bias**2
    v1, v2 = 2 * jnp.mean(x**2) + b2, 2 * jnp.mean(y**2) + b2
    distance = 2 * jnp.mean((x - y) ** 2)
    supplement = 2 * jnp.mean((x + y) ** 2) + 4 * b2 if with_sum else None
    hidden = relu.pair(relu.point(v1), relu.point(v2), distance, supplement=supplement)
    ntk, cov = hidden.slope * hidden.covariance, 0.5 * (0.5 * (v1 + v2) - hidden.distance)
    v1, v2, distance = v1 + b2, v2 + b2, 2 * hidden.distance  # W_std^2 = 2
    out = relu.pair(relu.point(v1), relu.point(v2), distance, acute=True)
    last = 0.5 * (0.5 * (v1 + v2) - out.distance)
    return jnp.stack([last + out.slope * (out.covariance + 2 * ntk), cov])


def textbook_network(bias, numbers):
    x, y = jnp.split(numbers, 2)
    b2 = bias**2
    v1, v2 = 2 * jnp.mean(x**2) + b2, 2 * jnp.mean(y**2) + b2
    k = 2 * jnp.mean(x * y) + b2
    hidden = textbook.rectifier(0.0, 1.0, v1, v2, k)
    k2 = 2 * hidden.covariance + b2
    out = textbook.rectifier(0.0, 1.0, v1 + b2, v2 + b2, k2)
    return jnp.stack([out.covariance + out.slope * (k2 + 2 * hidden.slope * k), hidden.covariance])


@functools.cache
def hessian_of_network(order, with_sum):
    return fast_jit(
        lambda bias, rows: jax.vmap(ORDERS[order](functools.partial(network, bias, with_sum)))(rows)
    )


X = np.array([0.6, -1.1, 0.4])
Y = np.array([0.3, 0.8, 1.2])
PLACES = {
    "equal": (X, X),
    "opposite": (X, -X),
    "parallel": (X, 2 * X),
    "opposite, of two sizes": (X, -3 * X),
    "one is zero": (X, 0 * X),
    "both are zero": (0 * X, 0 * X),
    "nearly equal": (X, X + 1e-6),
    "nearly opposite": (X, -X + 1e-6),
}


# With a bias, zero is a point like any other, and points opposite before it are not after.
SMOOTH = {0.0: [(X, Y), (X, -Y), (Y, 3 * X)], 0.5: [(X, Y), (X, 0 * X), (X, -X), (X, 2 * X)]}


def places(smooth, dtype):
    return jnp.asarray([np.concatenate(p) for p in (*PLACES.values(), *smooth)], dtype)


@pytest.mark.parametrize(("order", "dtype"), VARIANTS)
def test_networks_are_finite_at_corners(order, dtype):
    for bias in SMOOTH:
        rows = places(SMOOTH[0.5], dtype)
        found = hessian_of_network(order, True)(jnp.asarray(bias, dtype), rows)
        assert_finite(found, PLACES)


def test_networks_are_right_elsewhere():
    for bias, smooth in SMOOTH.items():
        rows = places(smooth, jnp.float64)
        hessian = fast_jit(jax.vmap(jax.hessian(functools.partial(textbook_network, bias))))
        found = hessian_of_network("forward over reverse", True)(jnp.asarray(bias), rows)
        exact = hessian(rows[len(PLACES) :])
        np.testing.assert_allclose(found[len(PLACES) :], exact, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("with_sum", [False, True])
def test_the_nngp_kernel_has_second_derivatives_at_equal_and_opposite_points(with_sum):
    """Around the kinks it is x y / 2 and 0, plus a third power of the angle."""
    rows = jnp.asarray([np.concatenate(PLACES[place]) for place in ("equal", "opposite")])
    found = hessian_of_network("forward over reverse", with_sum)(jnp.asarray(0.0), rows)[:, 1]
    equal = np.kron([[0, 1], [1, 0]], np.eye(3)) / 3
    np.testing.assert_allclose(found[0], equal, atol=1e-12)
    # Without the sum, 1 + cos is a rounding error and the angle its root.
    np.testing.assert_allclose(found[1], 0 * equal, atol=1e-12 if with_sum else 1e-7)


def test_the_slope_of_the_angle_is_zero_at_kinks():
    relu = ACTIVATIONS["relu"][0]

    def slope(numbers):
        v1, v2, distance, supplement = numbers
        return relu.pair(relu.point(v1), relu.point(v2), distance, supplement=supplement).slope

    for row in ([1.0, 1.0, 0.0, 4.0], [1.0, 1.0, 4.0, 0.0]):
        np.testing.assert_array_equal(jax.grad(slope)(jnp.asarray(row)), 0)


def test_roots_and_reciprocals_are_finite():
    for dtype in (jnp.float32, jnp.float64):
        x = jnp.asarray([0.0, 1e-36, 1e-20, 1e-10, 1e-3, 4.0], dtype)
        for fn, first, last in ((safe_sqrt, 0.25, -1 / 32), (safe_reciprocal, -1 / 16, 1 / 32)):
            for order in (jax.grad(fn), jax.jacfwd(jax.grad(fn)), jax.grad(jax.grad(fn))):
                assert np.isfinite(jax.vmap(order)(x)).all()
            np.testing.assert_allclose(jax.grad(fn)(x[-1]), first)
            np.testing.assert_allclose(jax.grad(jax.grad(fn))(x[-1]), last)
