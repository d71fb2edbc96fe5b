"""Dual activations: their expectations by quadrature, their corners, their derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from ntkjax._activations.error_function import ErrorFunction
from ntkjax._activations.gelu import GaussianErrorLinear
from ntkjax._activations.rectifier import Rectifier
from tests.helpers import abrelu, dense, fast_jit, gelu, kernels_of_inputs, serial
from tests.helpers import erf as erf_twin


def erf(a, b, c):
    return lambda x: a * special.erf(b * x) + c


# Name: dual, f, its derivative.
DUALS = {
    "relu": (Rectifier(0.0, 1.0), lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "abs": (Rectifier(-1.0, 1.0), np.abs, np.sign),
    "leaky": (
        Rectifier(0.1, 1.0),
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x: np.where(x > 0, 1.0, 0.1),
    ),
    "abrelu": (
        Rectifier(-0.5, 2.0),
        lambda x: np.where(x > 0, 2 * x, -0.5 * x),
        lambda x: np.where(x > 0, 2.0, -0.5),
    ),
    "linear": (Rectifier(1.0, 1.0), lambda x: x, np.ones_like),
    "erf": (
        ErrorFunction(1.0, 1.0, 0.0),
        special.erf,
        lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2)),
    ),
    "erf(2, 0.3, 1)": (
        ErrorFunction(2.0, 0.3, 1.0),
        erf(2.0, 0.3, 1.0),
        lambda x: 2 * 0.6 / np.sqrt(np.pi) * np.exp(-((0.3 * x) ** 2)),
    ),
    "gelu": (
        GaussianErrorLinear(),
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
}
VARIANCES = [(1.0, 1.0), (0.3, 2.5), (1e-3, 40.0)]
COSINES = [1.0, 0.999, 0.7, 0.0, -0.4, -0.999, -1.0]


def values(activation, v1, v2, distance):
    """Distance and derivative of pairs, stacked."""
    return jnp.stack(activation.pair(activation.point(v1), activation.point(v2), distance)[:2])


def first_derivatives(*arguments):
    return jax.jacrev(values, (1, 2, 3))(*arguments)


def second_derivatives(*arguments):
    return jax.jacfwd(first_derivatives, (1, 2, 3))(*arguments)


# Slopes and amplitudes are arguments of these programs, so that all rectifiers share one.
DERIVATIVES = [
    fast_jit(jax.vmap(function, (None, 0, 0, 0)))
    for function in (values, first_derivatives, second_derivatives)
]
dual = fast_jit(values)


def expectation(g, v1, v2, cosine):
    """E g(u, v) in polar coordinates: between the angles where u or v changes sign, it is smooth.

    u = r1 rho cos(phi), v = r2 rho cos(phi - theta), rho^2 / 2 exponential.
    """
    theta = np.arccos(cosine)
    signs_change = np.array([-np.pi / 2, np.pi / 2, theta - np.pi / 2, theta + np.pi / 2])
    edges = np.sort(signs_change % (2 * np.pi))
    nodes, weights = np.polynomial.legendre.leggauss(80)
    # rho from 0 to 12: beyond, exp(-rho^2 / 2) is below 1e-31. Panels resolve erf at any variance.
    panels = np.concatenate([[0], np.geomspace(1e-3, 12, 24)])
    rho = np.concatenate([(b - a) / 2 * nodes + (a + b) / 2 for a, b in itertools.pairwise(panels)])
    rho_weight = np.concatenate([(b - a) / 2 * weights for a, b in itertools.pairwise(panels)])
    rho_weight = rho_weight * rho * np.exp(-(rho**2) / 2) / (2 * np.pi)
    total = 0.0
    for a, b in itertools.pairwise([*edges, edges[0] + 2 * np.pi]):
        phi = (b - a) / 2 * nodes + (a + b) / 2
        u = np.sqrt(v1) * rho[:, None] * np.cos(phi)
        v = np.sqrt(v2) * rho[:, None] * np.cos(phi - theta)
        total += rho_weight @ g(u, v) @ weights * (b - a) / 2
    return total


@pytest.mark.parametrize("name", list(DUALS))
def test_agrees_with_quadrature(name):
    activation, f, slope = DUALS[name]
    grid = [(*variances, cosine) for variances in VARIANCES for cosine in COSINES]
    v1, v2, cosine = np.array(grid).T
    distance = v1 + v2 - 2 * cosine * np.sqrt(v1 * v2)
    distances, derivatives = dual(activation, v1, v2, distance)
    energies = activation.variance(jnp.asarray(v1))
    for i, point in enumerate(grid):
        of_distance = expectation(lambda u, v: (f(u) - f(v)) ** 2, *point)
        of_derivative = expectation(lambda u, v: slope(u) * slope(v), *point)
        # Where points are parallel, a rounding error of the larger variance is a theta of 1e-7.
        np.testing.assert_allclose(distances[i], of_distance, rtol=1e-8, atol=1e-13)
        np.testing.assert_allclose(derivatives[i], of_derivative, rtol=3e-8, atol=5e-7)
        energy = expectation(lambda u, v: f(u) ** 2, *point)
        np.testing.assert_allclose(energies[i], energy, rtol=1e-10)


def test_the_quadrature_itself():
    """Against an integral that SciPy takes, of a function without symmetry."""

    def density(v, u):
        return np.exp(-(u**2 - 1.2 * u * v + v**2) / (2 * 0.64)) / (2 * np.pi * 0.8)

    value, _ = integrate.dblquad(
        lambda v, u: density(v, u) * special.erf(u) * special.erf(2 * v), -9, 9, -9, 9
    )
    mine = expectation(lambda u, v: special.erf(u) * special.erf(2 * v), 1.0, 1.0, 0.6)
    np.testing.assert_allclose(mine, value, rtol=1e-7)


# ---- corners

CORNERS = {
    "equal": (1.0, 1.0, 0.0),
    "nearly equal": (1.0, 1.0, 1e-12),
    "a rounding error below": (1.0, 1.0, -1e-17),
    "parallel": (1.0, 4.0, 1.0),
    "opposite": (1.0, 1.0, 4.0),
    "beyond opposite": (1.0, 1.0, 4.0 + 1e-12),
    "orthogonal": (1.0, 1.0, 2.0),
    "one is zero": (0.0, 1.0, 1.0),
    "other is zero": (2.0, 0.0, 2.0),
    "both are zero": (0.0, 0.0, 0.0),
    "tiny": (1e-12, 1e-12, 1e-13),
    "huge": (1e12, 1e12, 1e10),
}
DTYPES = [jnp.float32, jnp.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(DUALS))
def test_corners_are_finite_with_their_derivatives(name, dtype):
    arguments = [jnp.asarray(column, dtype) for column in zip(*CORNERS.values(), strict=True)]

    for function in DERIVATIVES:
        for array in jax.tree.leaves(function(DUALS[name][0], *arguments)):
            assert array.dtype == dtype
            finite = np.isfinite(array).reshape(len(CORNERS), -1).all(1)
            assert [c for c, is_fine in zip(CORNERS, finite, strict=True) if not is_fine] == []
    distances, _ = dual(DUALS[name][0], *arguments)
    assert np.all(distances >= -1e-6 * np.maximum(arguments[0], arguments[1]))


@pytest.mark.parametrize("name", list(DUALS))
def test_equal_points_have_no_distance(name):
    v = np.array([0.0, 1e-3, 1.0, 50.0])
    distance, slope = dual(DUALS[name][0], v, v, np.zeros(4))
    assert np.all(distance == 0)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", list(DUALS))
def test_gradient_agrees_with_finite_differences(name):
    activation = DUALS[name][0]
    pairs = jnp.array([(1.0, 1.3, 0.4), (0.5, 2.0, 3.9), (3.0, 2.9, 6.0)])
    step = 1e-6
    for i, gradient in enumerate(DERIVATIVES[1](activation, *pairs.T)):
        change = step * jnp.eye(3)[i : i + 1]
        up, down = pairs + change, pairs - change
        difference = (dual(activation, *up.T) - dual(activation, *down.T)) / (2 * step)
        np.testing.assert_allclose(gradient, difference.T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", list(DUALS))
def test_float32_keeps_the_digits_of_a_small_distance(name):
    """Relative errors of the distance, the quantity that a covariance would lose."""
    activation = DUALS[name][0]
    distance = 10.0 ** np.arange(-12, 1)
    ones = np.ones_like(distance)
    exact = dual(activation, ones, ones, distance)
    single = dual(activation, *map(np.float32, (ones, ones, distance)))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single[0], exact[0], rtol=2e-6)
    np.testing.assert_allclose(single[1], exact[1], rtol=2e-6, atol=2e-7)


# ---- whole networks


def network(name, depth):
    w_std = {"relu": 2**0.5, "erf": 1.5, "gelu": 1.5}[name]
    layer = {"relu": abrelu(0.0, 1.0), "erf": erf_twin(), "gelu": gelu()}[name]
    hidden = [dense(W_std=w_std, b_std=0.1), layer] * depth
    return serial(*hidden, dense(W_std=w_std, b_std=0.1))


@pytest.mark.parametrize(("name", "depth"), [("relu", 20), ("erf", 5), ("gelu", 5)])
def test_float32_is_as_good_as_float64_on_near_equal_points(name, depth):
    """Points at a relative distance of 1e-3: a covariance in float32 gives errors near 1e-3."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(1, 50))
    x = (base + 1e-3 * rng.normal(size=(12, 50))).astype(np.float32)
    twin = network(name, depth)
    single = fast_jit(lambda x: twin.layer.kernel_fn(x, None, ("nngp", "ntk")))(x)
    exact = twin.act(kernels_of_inputs(x, x))
    for actual, wanted in [(single.nngp, exact.cov), (single.ntk, exact.ntk)]:
        assert actual.dtype == np.float32
        assert np.max(np.abs(np.asarray(actual) / wanted[..., 0, 0] - 1)) <= 1e-5
    # No more is lost than by storing the entries in float32: half a unit each, all of them at most.
    smallest, wanted = (
        np.linalg.eigvalsh(np.asarray(ntk, float))[0] for ntk in (single.ntk, exact.ntk[..., 0, 0])
    )
    rounding = np.finfo(np.float32).eps * np.max(exact.ntk)
    np.testing.assert_allclose(smallest, wanted, rtol=0, atol=len(x) / 2 * rounding)
