"""The angle and the gap between two points, against formulas in extended precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._activations.angle import Angle, Deviation
from ntkjax._activations.polynomials import arctan_deficit
from ntkjax._kernel.algebra.roots import safe_sqrt

# Relative errors, in units of the rounding error of the dtype.
DTYPES = {np.dtype(np.float32): 8, np.dtype(np.float64): 24}
DELTAS = np.concatenate([[0.0], np.geomspace(1e-30, 1e-2, 60), np.linspace(0.01, 2, 400)])


def exact_angle(delta):
    """Half-angle form: sin^2(theta / 2) = delta / 2."""
    return 2 * np.arctan2(np.sqrt(delta), np.sqrt(2 - delta))


def exact_gap(delta):
    """sin t - t cos t: by its series where the difference would cancel."""
    theta = exact_angle(delta)
    series, term = np.zeros_like(theta), theta**3 / 6
    for k in range(40):
        series += (2 * k + 2) * term
        term = -term * theta**2 / ((2 * k + 4) * (2 * k + 5))
    return np.where(theta < 1, series, np.sin(theta) - theta * np.cos(theta))


@pytest.mark.parametrize("dtype", list(DTYPES), ids=str)
def test_angle_and_gap(dtype):
    deltas = DELTAS.astype(dtype)
    extended = deltas.astype(np.longdouble)
    one = Deviation(*[jnp.ones_like(deltas)] * 2)
    angle = Angle.of(one, one, 2 * jnp.asarray(deltas))
    np.testing.assert_array_equal(angle.is_obtuse, deltas > 1)
    acute = np.minimum(extended, 2 - extended)
    assert np.all(np.abs(np.asarray(angle.rest) - acute) <= 4 * np.finfo(dtype).eps * acute)
    for actual, exact in zip((angle.theta, angle.gap), [exact_angle, exact_gap], strict=True):
        assert actual.dtype == dtype
        wanted = exact(acute)
        normal = wanted > np.finfo(dtype).tiny
        error = np.abs(np.asarray(actual) - wanted)[normal] / wanted[normal]
        assert error.max() <= DTYPES[dtype] * np.finfo(dtype).eps
        assert np.all(np.asarray(actual)[~normal] <= 2 * np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", list(DTYPES), ids=str)
def test_arctan_deficit(dtype):
    z = np.concatenate([[0.0], np.geomspace(1e-10, 1e-2, 40), np.linspace(0.01, 1, 200)])
    square = (z**2).astype(dtype)
    z = np.sqrt(square.astype(np.longdouble))
    series = sum((-1) ** k * z ** (2 * k) / (2 * k + 3) for k in range(60))
    exact = np.where(z < 0.5, series, (z - np.arctan(z)) / np.where(z > 0, z, 1) ** 3)
    actual = np.asarray(arctan_deficit(jnp.asarray(square)))
    assert actual.dtype == dtype
    assert np.max(np.abs(actual / exact - 1)) <= DTYPES[dtype] * np.finfo(dtype).eps


def test_safe_sqrt_has_a_slope_at_zero():
    assert safe_sqrt(jnp.asarray(0.0)) == 0
    assert jax.grad(safe_sqrt)(0.0) == 0
    assert jax.grad(jax.grad(safe_sqrt))(0.0) == 0
    np.testing.assert_allclose(jax.grad(safe_sqrt)(4.0), 0.25)
    np.testing.assert_allclose(jax.grad(jax.grad(safe_sqrt))(4.0), -1 / 32)
