"""1 - exp(-x), against mpmath in float64 and against float64 in float32."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ntkjax._activations.one_minus_exp import one_minus_exp
from tests.helpers import fast_jit


def points(dtype):
    """Of all sizes, and many near the ends of the ranges that are reduced."""
    rng = np.random.default_rng(0)
    edges = np.log(2) * (np.arange(60)[:, None] + 0.5) * (1 + 1e-7 * rng.normal(size=(60, 20)))
    small = 10.0 ** rng.uniform(-35, 0, 500)
    x = np.concatenate([small, rng.uniform(0, 3, 1000), rng.uniform(0, 45, 500), edges.ravel()])
    return np.concatenate([x, [0.0, 1e3], -small]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_digits_are_right(dtype):
    x = points(dtype)
    with mpmath.workdps(40):
        wanted = np.array([float(-mpmath.expm1(-mpmath.mpf(float(a)))) for a in x])
    found = fast_jit(one_minus_exp)(x)
    assert found.dtype == dtype
    unit = np.spacing(np.abs(wanted).astype(dtype)).astype(float)
    assert np.max(np.abs(np.asarray(found, float) - wanted) / unit) < 1.5
    assert np.all(found <= 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_of_all_orders(dtype):
    x = points(dtype)
    x = x[np.abs(x) < 80]
    value = one_minus_exp
    for sign in (1, -1, 1):
        value = jax.grad(value)
        found = fast_jit(jax.vmap(value))(x)
        wanted = sign * np.exp(-x.astype(float))
        np.testing.assert_allclose(found, wanted, rtol=20 * np.finfo(dtype).eps)


def test_what_is_no_number_stays_so():
    found = one_minus_exp(jnp.asarray([np.inf, np.nan, 0.0]))
    np.testing.assert_array_equal(found, [1.0, np.nan, 0.0])
